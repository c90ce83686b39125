"""The Shopify example, against a shop that refuses what the real one refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from gptimage.store import Store
from tests.examples.conftest import paid
from tests.examples.shopify_shop import ShopifyShop


@pytest.fixture
def shopify(program: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, with the credentials of an app; its images are small."""
    for name, value in {"CLIENT_ID": "id", "CLIENT_SECRET": "secret", "ACCESS_TOKEN": ""}.items():
        monkeypatch.setenv(f"SHOPIFY_{name}", value)
    found = program("shopify")
    monkeypatch.setattr(found, "SIZE", "64x64")
    return found


def images(shop: ShopifyShop) -> list[list[str]]:
    """The states of every product's images."""
    return [[each["status"] for each in one["images"]] for one in shop.products.values()]


def test_a_product_gets_its_image(shopify: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It is ready, described, marked as made with AI, and tagged with its number there."""
    shop = ShopifyShop("Blue mug")

    for _ in range(2):
        shopify.main(["product", "1000"], shop.shop())

    (media,) = shop.products[1000]["images"]
    assert (media["status"], media["alt"]) == ("READY", "Blue mug (image made with AI)")
    with Store("pictures") as store:
        (record,) = store.history().records
    assert "shopify:5000" in record.tags
    assert capsys.readouterr().out == f"product 1000: image 5000 ({record.id})\n" * 2
    assert shop.requests.count("productUpdate") == 1


def test_a_catalogue_goes_on_where_it_stopped(
    shopify: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Products with an image are left alone; one that failed has its image after the next start."""
    shop = ShopifyShop("Mug", "Plate [sandbox:moderation]", "Bowl", "Jug")
    jug = {"__typename": "MediaImage", "id": "1", "alt": "A jug", "status": "READY"}
    shop.products[1003]["images"].append(jug)
    shop.failures.append(("upload", httpx2.Response(403, text="AccessDenied")))

    with pytest.raises(SystemExit, match="2 products have no image yet"):
        shopify.main(["catalogue"], shop.shop())
    shop.products[1001]["title"] = "Plate"
    shopify.main(["catalogue"], shop.shop())

    assert images(shop) == [["READY"]] * 4
    assert paid() == 3
    assert "Plate [sandbox:moderation]: shopify-product-1001: no image" in capsys.readouterr().err


def test_more_products_than_fit_on_a_page(shopify: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run lists the products of all pages, and draws nothing."""
    shop = ShopifyShop(*(f"Mug {number}" for number in range(101)))

    shopify.main(["catalogue", "--dry-run"], shop.shop())

    assert (len(capsys.readouterr().out.splitlines()), paid()) == (101, 0)
    assert shop.requests.count("products") == 3


@pytest.mark.slow
def test_a_catalogue_of_500(shopify: Any) -> None:
    """After a kill in the middle, each product has one image, and each was paid for once."""
    shop = ShopifyShop(*(f"Mug {number}" for number in range(500)))
    for killed in (shop.after, shop.failures):
        killed.append(("productUpdate", KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            shopify.main(["catalogue"], shop.shop())

    shopify.main(["catalogue"], shop.shop())

    assert images(shop) == [["READY"]] * 500
    assert paid() == 500


@pytest.mark.parametrize("step", ["stagedUploadsCreate", "upload", "productUpdate", "node"])
@pytest.mark.parametrize("when", ["failures", "after"])
def test_a_kill_between_the_steps_costs_nothing(shopify: Any, step: str, when: str) -> None:
    """Whichever step was the last, the next start has one image, and one payment."""
    shop = ShopifyShop("Mug")
    getattr(shop, when).append((step, KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        shopify.main(["product", "1000"], shop.shop())
    shopify.main(["product", "1000"], shop.shop())

    assert (images(shop), paid()) == ([["READY"]], 1)


def test_a_reply_that_got_lost_is_looked_for(shopify: Any) -> None:
    """What may have been attached is found at the next start, and not attached again."""
    shop = ShopifyShop("Mug")
    shop.after.append(("productUpdate", httpx2.ReadTimeout("late")))

    with pytest.raises(Exception, match="may have been accepted; start this again, it looks first"):
        shopify.main(["product", "1000"], shop.shop())
    shopify.main(["catalogue"], shop.shop())

    assert (images(shop), paid()) == ([["READY"]], 1)


def test_a_token_that_expired(shopify: Any) -> None:
    """A new one is made in the middle of the run, and the refused request is sent with it."""
    shop = ShopifyShop("Mug")
    shop.failures.append(("stagedUploadsCreate", httpx2.Response(401, json={"errors": "[API]"})))

    shopify.main(["product", "1000"], shop.shop())

    assert (shop.requests.count("token"), images(shop)) == (2, [["READY"]])


@pytest.mark.parametrize("variable", ["CLIENT_SECRET", "ACCESS_TOKEN"])
def test_a_wrong_token_costs_nothing(
    shopify: Any, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said before anything is paid."""
    monkeypatch.setenv(f"SHOPIFY_{variable}", "wrong")

    with pytest.raises(Exception, match=r"no token \(400\)|401: the token is not accepted"):
        shopify.main(["product", "1000"], ShopifyShop("Mug").shop())
    assert paid() == 0


def test_limits_are_waited_for(shopify: Any) -> None:
    """A bucket of costs that is empty is waited for as long as it takes to fill, and a 429."""
    shop = ShopifyShop("Mug")
    shop.available = 30.0  # enough for the first query of 20
    shop.failures.append(("upload", httpx2.Response(429, headers={"Retry-After": "2.5"})))
    waits: list[float] = []

    shopify.main(["product", "1000"], shop.shop(), wait=waits.append)

    assert waits == [0.1, 2.5, 1.0, 2.0]  # 10 of 20 are there at 100 a second; 429; two looks
    assert images(shop) == [["READY"]]


def test_a_refused_image_is_reported(shopify: Any) -> None:
    """What Shopify refuses while it prepares an image is named, and the image is saved."""
    shop = ShopifyShop("Mug")
    shop.refuses = "INVALID_IMAGE_RESOLUTION"

    for _ in range(2):
        with pytest.raises(Exception, match="INVALID_IMAGE_RESOLUTION: The image is refused"):
            shopify.main(["product", "1000"], shop.shop())

    assert (images(shop), paid()) == ([["FAILED"]], 1)


def test_what_the_service_says_of_itself(shopify: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A version that is over is noted once; a product that is not there costs nothing."""
    shop = ShopifyShop("Mug")
    shop.answers_as = "2027-01"

    with pytest.raises(Exception, match="the shop has no product 7"):
        shopify.main(["product", "7"], shop.shop())
    shopify.main(["catalogue", "--dry-run"], shop.shop())

    assert capsys.readouterr().err == "note: Shopify answers as 2027-01: 2026-10 is over\n" * 2
    with pytest.raises(Exception, match="Shopify: Cannot query field 'image'"):
        shopify.Shopify(shop.shop(), client_id="id", client_secret="secret").query("{ image }")
