"""Product images for a Shopify shop: one product, or every one of the catalogue that has none.

    export SHOPIFY_SHOP=my-shop SHOPIFY_CLIENT_ID=... SHOPIFY_CLIENT_SECRET=...
    python shopify.py product 1234567890
    python shopify.py catalogue --dry-run
    python shopify.py catalogue --budget 20.00

SHOPIFY_ACCESS_TOKEN (shpat_...) may take the place of id and secret. The app needs the scopes
read_products, write_products and write_files. A product that has an image is left alone, so the
shop itself remembers how far a run came: started again after a kill, it goes on, pays for nothing
twice and attaches nothing twice.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

import httpx2
from publish import Api, PublishError, draw_once, remember, remembered, shorten

import gptimage
from gptimage.store import Store
from gptimage.typing import Record
from gptimage.workers import SqliteJobStore


API_VERSION = "2026-10"  # a version is answered for a year; then the oldest one answers instead
SIZE = "1024x1024"
QUALITY: Final = "medium"
MAX_BYTES = 20 * 2**20  # the signed policy of an upload refuses more
ALT_LIMIT = 512
TOGETHER = 4  # products at a time
LOOKS = 8  # at an image that Shopify still prepares: after 1, 2, 4... seconds

PRODUCTS = """query ($after: String) {
  products(first: 50, after: $after, sortKey: ID) {
    nodes { id title media(first: 3) { nodes { id alt status } } }
    pageInfo { hasNextPage endCursor } } }"""
PRODUCT = """query ($id: ID!) {
  product(id: $id) { id title media(first: 20) { nodes { id alt status } } } }"""
STAGE = """mutation ($input: [StagedUploadInput!]!) {
  stagedUploadsCreate(input: $input) {
    stagedTargets { url resourceUrl parameters { name value } }
    userErrors { field message } } }"""
ATTACH = """mutation ($product: ProductUpdateInput!, $media: [CreateMediaInput!]) {
  productUpdate(product: $product, media: $media) {
    product { media(first: 20, reverse: true) { nodes { id alt status } } }
    userErrors { field message } } }"""
STATUS = """query ($id: ID!) {
  node(id: $id) { ... on MediaImage { id status mediaErrors { code details message } } } }"""


class Shopify:
    """The part of a shop's Admin API that product images need.

    Args:
        http: Sends the requests; its base is the shop.
        wait: Waits so many seconds.
        token: An access token; with client id and secret one is made, and anew when it expires.
        client_id: Of an app of the Dev Dashboard.
        client_secret: Of the same app.
    """

    def __init__(
        self,
        http: httpx2.Client,
        wait: Callable[[float], None] = time.sleep,
        *,
        token: str = "",
        client_id: str = "",
        client_secret: str = "",
    ) -> None:
        self._wait = wait
        self._app = {"client_id": client_id, "client_secret": client_secret}
        self._api = Api(http, wait, None if token else self._new_token)
        self._api.headers = {"X-Shopify-Access-Token": token} if token else self._new_token()
        self._warned = False

    def _new_token(self) -> dict[str, str]:
        """Return the headers with a token for the next 24 hours."""
        body = {**self._app, "grant_type": "client_credentials"}
        response = self._api.send("POST", "/admin/oauth/access_token", token=False, json=body)
        if not response.is_success:
            raise PublishError(
                f"no token ({response.status_code}): are SHOPIFY_CLIENT_ID and "
                "SHOPIFY_CLIENT_SECRET those of an app that is installed in this shop?"
            )
        return {"X-Shopify-Access-Token": str(response.json()["access_token"])}

    def query(self, text: str, **variables: Any) -> dict[str, Any]:
        """Return the data of a query or a mutation.

        Raises:
            PublishError: It was refused, in whichever of the three places that is said.
        """
        url = f"/admin/api/{API_VERSION}/graphql.json"
        for _ in range(10):
            response = self._api.send("POST", url, json={"query": text, "variables": variables})
            if response.status_code in {401, 403}:
                raise PublishError(
                    f"{response.status_code}: the token is not accepted, make a new one in Shopify"
                )
            if not response.is_success:
                raise PublishError(f"Shopify: {response.status_code} {response.text:.200}")
            self._check_version(response)
            body = response.json()
            if not (errors := body.get("errors")):
                break
            if errors[0].get("extensions", {}).get("code") != "THROTTLED":
                raise PublishError(f"Shopify: {errors[0]['message']}")
            # Refused before it was run: the bucket has to fill first.
            cost = body["extensions"]["cost"]
            status = cost["throttleStatus"]
            missing = cost["requestedQueryCost"] - status["currentlyAvailable"]
            self._wait(max(missing / status["restoreRate"], 0.1))
        else:
            raise PublishError("Shopify: still throttled; start this again later")
        data: dict[str, Any] = body["data"]
        for answer in data.values():
            errors = cast("dict[str, Any]", answer).get("userErrors") if answer else None
            if errors:
                raise PublishError(f"Shopify: {errors[0]['message']}")
        return data

    def _check_version(self, response: httpx2.Response) -> None:
        answered = response.headers.get("X-Shopify-API-Version", API_VERSION)
        if answered != API_VERSION and not self._warned:
            self._warned = True
            print(f"note: Shopify answers as {answered}: {API_VERSION} is over", file=sys.stderr)

    def products(self) -> Iterator[dict[str, Any]]:
        """Yield every product, the oldest first: what is added meanwhile comes last."""
        after = None
        while True:
            page = self.query(PRODUCTS, after=after)["products"]
            yield from page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    def upload(self, image: gptimage.Image, filename: str) -> str:
        """Return the address at which Shopify finds an uploaded image; nobody sees it yet."""
        target = self.query(
            STAGE,
            input=[
                {
                    "resource": "IMAGE",
                    "filename": filename,
                    "mimeType": image.mime_type,
                    "httpMethod": "POST",
                    "fileSize": str(image.nbytes),
                }
            ],
        )["stagedUploadsCreate"]["stagedTargets"][0]
        # Another host: it checks a signature of exactly these fields, and the file comes last.
        response = self._api.send(
            "POST",
            target["url"],
            token=False,
            data={each["name"]: each["value"] for each in target["parameters"]},
            files={"file": (filename, image.data, image.mime_type)},
        )
        if not response.is_success:
            raise PublishError(
                f"the upload was refused: {response.status_code} {response.text:.200}"
            )
        return str(target["resourceUrl"])

    def attach(self, product: str, source: str, alt: str) -> dict[str, Any]:
        """Add an uploaded image to a product, and return it; it is prepared from now on."""
        media = [{"originalSource": source, "alt": alt, "mediaContentType": "IMAGE"}]
        data = self.query(ATTACH, product={"id": product}, media=media)
        found = data["productUpdate"]["product"]["media"]["nodes"]
        return own_media(found, alt) or found[0]

    def wait_until_ready(self, media: dict[str, Any]) -> None:
        """Wait until an image is shown in the shop.

        Raises:
            PublishError: Shopify refused it after all, or still prepares it.
        """
        for attempt in range(LOOKS):
            if media["status"] == "READY":
                return
            if media["status"] == "FAILED":
                errors = self.query(STATUS, id=media["id"])["node"]["mediaErrors"]
                why = ", ".join(f"{each['code']}: {each['message']}" for each in errors)
                raise PublishError(f"{media['id']} is refused ({why}); delete it in the shop")
            self._wait(2.0**attempt)
            media = self.query(STATUS, id=media["id"])["node"]
        raise PublishError(f"{media['id']} is not ready yet; start this again, it looks first")


def own_media(nodes: list[dict[str, Any]], alt: str) -> dict[str, Any] | None:
    """Return the image that this program attached earlier, which has this alternative text."""
    return next((each for each in nodes if each["alt"] == alt), None)


def illustrate(
    shop: Shopify,
    client: gptimage.ImageClient,
    jobs: SqliteJobStore,
    store: Store,
    product: dict[str, Any],
) -> str:
    """Draw, save, upload and attach the image of a product; return a line that says so."""
    number = product["id"].rpartition("/")[2]
    title = product["title"]
    prompt = f"A product photo of {title} on a plain, light background, without any text"
    alt = shorten(f"{title} (image made with AI)", ALT_LIMIT)
    record = draw_once(
        client, jobs, f"shopify-product-{number}", prompt, size=SIZE, quality=QUALITY
    )
    if remote := remembered(store, record, "shopify"):
        return f"product {number}: image {remote} ({record.id})"
    # A reply that got lost may have attached it: it is looked for before anything is uploaded.
    media = own_media(product["media"]["nodes"], alt)
    if media is None:
        media = shop.attach(product["id"], upload(shop, store, record), alt)
    shop.wait_until_ready(media)
    remote = media["id"].rpartition("/")[2]
    remember(store, record, "shopify", remote)
    return f"product {number}: image {remote} ({record.id})"


def upload(shop: Shopify, store: Store, record: Record) -> str:
    """Upload a saved image, no larger than Shopify takes."""
    image = store.open(record).convert("jpeg").shrink(MAX_BYTES)
    return shop.upload(image, f"img-{record.sha256[:16]}.{image.extension}")


def fill(
    shop: Shopify,
    client: gptimage.ImageClient,
    jobs: SqliteJobStore,
    store: Store,
    *,
    dry_run: bool,
) -> None:
    """Illustrate every product that has no image; one that fails does not stop the others."""
    title = "image made with AI"
    open_products = (
        each
        for each in shop.products()
        # One that this program attached may still be prepared, and is not written down.
        if all(title in (node["alt"] or "") for node in each["media"]["nodes"])
        and not any(node["status"] == "READY" for node in each["media"]["nodes"])
    )
    if dry_run:
        for product in open_products:
            estimate = client.estimate(product["title"], size=SIZE, quality=QUALITY)
            about = f"${estimate.usd:.4f}" if estimate else "an unknown amount"
            print(f"{product['id'].rpartition('/')[2]}: {product['title']} (about {about})")
        return

    def one(product: dict[str, Any]) -> str | PublishError:
        try:
            return illustrate(shop, client, jobs, store, product)
        except PublishError as error:
            return PublishError(f"{product['title']}: {error}")

    failed = 0
    pool = ThreadPoolExecutor(TOGETHER)
    try:
        for end in pool.map(one, open_products):
            failed += isinstance(end, PublishError)
            print(end, file=sys.stderr if isinstance(end, PublishError) else sys.stdout, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, those that were begun are finished
    if failed:
        sys.exit(f"{failed} products have no image yet; start this again to go on")


def main(
    arguments: list[str],
    http: httpx2.Client | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Product images for a Shopify shop.")
    commands = parser.add_subparsers(dest="command", required=True)
    product = commands.add_parser("product", help="the image of one product")
    product.add_argument("product", help="its number")
    catalogue = commands.add_parser("catalogue", help="of every product that has none")
    catalogue.add_argument("--budget", help="the most to spend, in USD")
    catalogue.add_argument("--dry-run", action="store_true", help="only say what it may cost")
    options = parser.parse_args(arguments)

    http = http or httpx2.Client(
        base_url=f"https://{os.environ['SHOPIFY_SHOP']}.myshopify.com", timeout=60
    )
    budget = getattr(options, "budget", None)
    settings: dict[str, Any] = {"budget": gptimage.Budget(budget, per="total")} if budget else {}
    with http, Store("pictures") as store, gptimage.ImageClient(store=store, **settings) as client:
        jobs = SqliteJobStore("jobs.sqlite")
        shop = Shopify(  # a token that is not accepted is said before anything is paid
            http,
            wait,
            token=os.environ.get("SHOPIFY_ACCESS_TOKEN", ""),
            client_id=os.environ.get("SHOPIFY_CLIENT_ID", ""),
            client_secret=os.environ.get("SHOPIFY_CLIENT_SECRET", ""),
        )
        if options.command == "catalogue":
            fill(shop, client, jobs, store, dry_run=options.dry_run)
            return
        found = shop.query(PRODUCT, id=f"gid://shopify/Product/{options.product}")["product"]
        if found is None:
            raise PublishError(f"the shop has no product {options.product}")
        print(illustrate(shop, client, jobs, store, found))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PublishError as error:
        sys.exit(str(error))
