"""A Shopify shop as its Admin API behaves, in memory.

The schema has the names of the real one, and graphql-core refuses whatever is not in it. What the
shop accepts and refuses was read in recorded traffic of real shops: `userErrors` behind a 200, a
signed upload that checks every field, images that are prepared for a while, a bucket of costs.
"""

from __future__ import annotations

import io
import json
from typing import Any

import graphql
import httpx2
from PIL import Image as PillowImage

from tests.examples.stand_in import RefusalError, StandIn, parts


VERSION = "2026-10"
UPLOADS = "https://uploads.example"
MAX_UPLOAD = 20_971_520
RATE = 100

SCHEMA = graphql.build_schema("""
type Query {
  product(id: ID!): Product
  products(first: Int, after: String, sortKey: ProductSortKeys): ProductConnection!
  node(id: ID!): Node
}
type Mutation {
  stagedUploadsCreate(input: [StagedUploadInput!]!): StagedUploadsCreatePayload
  productUpdate(product: ProductUpdateInput, media: [CreateMediaInput!]): ProductUpdatePayload
}
enum ProductSortKeys { ID TITLE }
enum StagedUploadTargetGenerateUploadResource { IMAGE FILE VIDEO MODEL_3D }
enum StagedUploadHttpMethodType { POST PUT }
enum MediaContentType { IMAGE VIDEO EXTERNAL_VIDEO MODEL_3D }
enum MediaStatus { UPLOADED PROCESSING READY FAILED }
scalar UnsignedInt64
interface Node { id: ID! }
interface Media { id: ID!  alt: String  status: MediaStatus!  mediaErrors: [MediaError!]! }
type MediaImage implements Node & Media {
  id: ID!  alt: String  status: MediaStatus!  mediaErrors: [MediaError!]!
}
type MediaError { code: String!  details: String  message: String! }
type MediaConnection { nodes: [Media!]! }
type Product implements Node {
  id: ID!  title: String!  media(first: Int, reverse: Boolean): MediaConnection!
}
type PageInfo { hasNextPage: Boolean!  endCursor: String }
type ProductConnection { nodes: [Product!]!  pageInfo: PageInfo! }
type UserError { field: [String!]  message: String! }
type StagedUploadParameter { name: String!  value: String! }
type StagedMediaUploadTarget {
  url: String  resourceUrl: String  parameters: [StagedUploadParameter!]!
}
type StagedUploadsCreatePayload {
  stagedTargets: [StagedMediaUploadTarget!]  userErrors: [UserError!]!
}
type ProductUpdatePayload { product: Product  userErrors: [UserError!]! }
input StagedUploadInput {
  resource: StagedUploadTargetGenerateUploadResource!  filename: String!  mimeType: String!
  httpMethod: StagedUploadHttpMethodType = PUT  fileSize: UnsignedInt64
}
input ProductUpdateInput { id: ID }
input CreateMediaInput { originalSource: String!  alt: String  mediaContentType: MediaContentType! }
""")


class ShopifyShop(StandIn):
    """The shop.

    Attributes:
        products: The products by number, each a title and its images.
        tokens: The access tokens that are accepted.
        looks: How often an image is looked at until it is ready.
        refuses: The code with which every image is refused after its upload, or None.
        available: What is left of the bucket of costs.
        answers_as: The version that answers.
    """

    def __init__(self, *titles: str) -> None:
        super().__init__()
        self.products: dict[int, dict[str, Any]] = {
            1000 + number: {
                "__typename": "Product",
                "id": f"gid://shopify/Product/{1000 + number}",
                "title": title,
                "images": [],
            }
            for number, title in enumerate(titles)
        }
        self.tokens = {"shpat_old"}
        self.looks = 2
        self.refuses: str | None = None
        self.available = 2000.0
        self.answers_as = VERSION
        self._media: dict[str, dict[str, Any]] = {}
        self._staged: dict[str, dict[str, str]] = {}
        self._uploaded: dict[str, int] = {}

    def shop(self) -> httpx2.Client:
        """Return a client of the shop."""
        return self.client(base_url="https://shop.example")

    def line(self, request: httpx2.Request) -> str:
        """Return a request by what it does."""
        if request.url.path.endswith("graphql.json"):
            return str(
                json.loads(request.content)["query"].partition("{\n")[2].split("(")[0]
            ).strip()
        return "upload" if str(request.url).startswith(UPLOADS) else "token"

    def route(self, request: httpx2.Request) -> httpx2.Response:
        """Do what a request says."""
        if str(request.url).startswith(UPLOADS):
            return self._upload(request)
        if request.url.path == "/admin/oauth/access_token":
            return self._token(json.loads(request.content))
        if request.url.path != f"/admin/api/{VERSION}/graphql.json":
            raise RefusalError(404, {"errors": "Not Found"})
        if request.headers.get("x-shopify-access-token") not in self.tokens:
            raise RefusalError(401, {"errors": "[API] Invalid API key or access token"})
        body = self._query(json.loads(request.content))
        return httpx2.Response(200, json=body, headers={"X-Shopify-API-Version": self.answers_as})

    def _token(self, body: dict[str, str]) -> httpx2.Response:
        expected = {
            "client_id": "id",
            "client_secret": "secret",
            "grant_type": "client_credentials",
        }
        if body != expected:
            raise RefusalError(400, {"error": "invalid_client"})
        token = f"shpat_{len(self.requests)}"
        self.tokens = {token}
        answer = {"access_token": token, "scope": "write_products", "expires_in": 86_399}
        return httpx2.Response(200, json=answer)

    def _query(self, body: dict[str, Any]) -> dict[str, Any]:
        cost = 60 if "products(" in body["query"] else 20
        status = {"maximumAvailable": 2000, "currentlyAvailable": self.available}
        costs = {
            "requestedQueryCost": cost,
            "actualQueryCost": cost,
            "throttleStatus": {**status, "restoreRate": RATE},
        }
        extensions = {"extensions": {"cost": costs}}
        if self.available < cost:
            self.available = 2000.0  # by the time it is asked again
            error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return {"errors": [error], **extensions}
        self.available -= cost
        root = {
            "product": lambda _, id: self.products.get(int(id.rpartition("/")[2])),
            "products": self._page,
            "node": lambda _, id: self._look(id),
            "stagedUploadsCreate": self._stage,
            "productUpdate": self._attach,
        }
        result = graphql.graphql_sync(
            SCHEMA,
            body["query"],
            root_value=root,
            variable_values=body["variables"],
            field_resolver=_resolve,
        )
        return {**result.formatted, **extensions}

    def _page(self, _: Any, first: int, after: str | None = None, **__: Any) -> dict[str, Any]:
        numbers = [number for number in sorted(self.products) if number > int(after or 0)]
        page = numbers[:first]
        return {
            "nodes": [self.products[number] for number in page],
            "pageInfo": {
                "hasNextPage": len(numbers) > first,
                "endCursor": str(page[-1]) if page else None,
            },
        }

    def _stage(self, _: Any, input: list[dict[str, Any]]) -> dict[str, Any]:
        targets: list[dict[str, Any]] = []
        for number, each in enumerate(input):
            if not each["mimeType"].startswith("image/"):
                field = ["input", str(number), "mimeType"]
                error = {
                    "field": field,
                    "message": f"{each['mimeType']} is not a recognized format",
                }
                return {"stagedTargets": [], "userErrors": [error]}
            key = f"tmp/{len(self._staged)}/{each['filename']}"
            fields = {
                "Content-Type": each["mimeType"],
                "success_action_status": "201",
                "acl": "private",
                "key": key,
                "x-goog-signature": "signed",
                "policy": "content-length-range",
            }
            self._staged[key] = fields
            parameters = [{"name": name, "value": value} for name, value in fields.items()]
            resource = f"{UPLOADS}/{key}"
            targets.append(
                {"url": f"{UPLOADS}/", "resourceUrl": resource, "parameters": parameters}
            )
        return {"stagedTargets": targets, "userErrors": []}

    def _upload(self, request: httpx2.Request) -> httpx2.Response:
        if "x-shopify-access-token" in request.headers:
            raise AssertionError("the token is sent to another host")
        names, values, file = parts(request)
        fields = self._staged.get(values.get("key", ""))
        if fields is None or names != [*fields, "file"] or values != fields:
            return httpx2.Response(403, text="<Error><Code>AccessDenied</Code></Error>")
        if file.get_content_type() != fields["Content-Type"]:
            return httpx2.Response(403, text="<Error><Code>AccessDenied</Code></Error>")
        data: bytes = file.get_payload(decode=True)  # type: ignore[assignment]  # a file is bytes
        if not 1 <= len(data) <= MAX_UPLOAD:
            return httpx2.Response(400, text="<Error><Code>EntityTooLarge</Code></Error>")
        with PillowImage.open(io.BytesIO(data)) as image:
            if image.width * image.height > 25_000_000:
                raise AssertionError("the example sends more than 25 megapixels")
        self._uploaded[f"{UPLOADS}/{fields['key']}"] = len(data)
        return httpx2.Response(201, text="<PostResponse/>")

    def _attach(
        self, _: Any, product: dict[str, Any], media: list[dict[str, Any]]
    ) -> dict[str, Any]:
        found = self.products.get(int(product["id"].rpartition("/")[2]))
        if found is None:
            return _user_error(["product", "id"], "Product does not exist")
        for each in media:
            if each["originalSource"] not in self._uploaded:
                return _user_error(["media"], "Image URL is invalid")
            if len(each["alt"]) > 512:
                return _user_error(["media"], "Alt value exceeds the limit of 512 characters")
            id = f"gid://shopify/MediaImage/{5000 + len(self._media)}"
            self._media[id] = {
                "__typename": "MediaImage",
                "id": id,
                "alt": each["alt"],
                "status": "UPLOADED",
                "looks": 0,
                "mediaErrors": [],
            }
            found["images"].append(self._media[id])
        return {"product": found, "userErrors": []}

    def _look(self, id: str) -> dict[str, Any] | None:
        media = self._media.get(id)
        if media is not None:
            media["looks"] += 1
            media["status"] = "READY" if media["looks"] >= self.looks else "PROCESSING"
            if self.refuses and media["status"] == "READY":
                error = {"code": self.refuses, "message": "The image is refused", "details": ""}
                media.update(status="FAILED", mediaErrors=[error])
        return media


def _resolve(source: Any, info: graphql.GraphQLResolveInfo, **arguments: Any) -> Any:
    if info.field_name == "media":
        images = source["images"]
        ordered = images[::-1] if arguments.get("reverse") else images
        return {"nodes": ordered[: arguments["first"]]}
    found = source[info.field_name]
    return found(info, **arguments) if callable(found) else found


def _user_error(field: list[str], message: str) -> dict[str, Any]:
    return {"product": None, "userErrors": [{"field": field, "message": message}]}
