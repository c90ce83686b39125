"""Draw several pictures at once, a few at a time, and save what works when one fails."""

from __future__ import annotations

import asyncio

import gptimage


SCENES = ("a red fox in snow", "a lighthouse at dusk", "a city at night", "a forest in autumn")


async def main() -> None:
    """Draw every scene, three calls at a time."""
    semaphore = asyncio.Semaphore(3)
    async with gptimage.AsyncImageClient() as client:
        done = await asyncio.gather(*(draw(client, semaphore, scene) for scene in SCENES))
    costs = [result.cost.usd for result in done if result and result.cost]
    print(f"{len(costs)} of {len(SCENES)} images, ${sum(costs):.4f}")


async def draw(
    client: gptimage.AsyncImageClient, semaphore: asyncio.Semaphore, scene: str
) -> gptimage.Result | None:
    """Draw and save one scene; say why when that does not work."""
    async with semaphore:
        try:
            result = await client.generate(scene, size="1024x1024", quality="low")
        except gptimage.GptImageError as error:
            print(f"{scene}: {error}")
            return None
    await asyncio.to_thread(result.image.save, f"{scene.replace(' ', '-')}.png")
    return result


if __name__ == "__main__":
    asyncio.run(main())
