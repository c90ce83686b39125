// What a host does with the server: list, draw, look, read, give up too early, and come back.

export async function report(client, call) {
  const tools = (await client.listTools()).tools.map((tool) => tool.name);
  const progress = [];
  const drawn = await call(
    { name: "generate_image", arguments: { prompt: "A red fox", size: "1024x1024" } },
    { onprogress: (update) => progress.push(update.progress) },
  );
  const told = JSON.parse(drawn.content[0].text);
  const preview = drawn.content.find((block) => block.type === "image");
  const original = (await client.readResource({ uri: told.images[0].uri })).contents[0];
  const seen = await call({ name: "view_image", arguments: { id: told.images[0].id } });
  const listed = await call({ name: "list_images", arguments: { limit: 5 } });
  const wrong = await call({ name: "view_image", arguments: { id: "img_nothing" } });
  return {
    tools,
    progress,
    told,
    kinds: drawn.content.map((block) => block.type),
    structured: drawn.structuredContent !== undefined,
    preview: Buffer.from(preview.data, "base64").length,
    previewType: preview.mimeType,
    original: Buffer.from(original.blob, "base64").length,
    originalType: original.mimeType,
    seen: seen.content.map((block) => block.type),
    listed: listed.structuredContent,
    refused: wrong.isError === true,
    givenUp: await giveUp(call),
  };
}

// The client's patience ends before the picture is there; the picture must not be lost. A call that
// is cancelled before the server took it up draws nothing: then the next one has more patience.
async function giveUp(call) {
  let code = null;
  for (const patience of [1, 20, 100, 500]) {
    const prompt = `A slow owl ${patience}`;
    try {
      await call(
        { name: "generate_image", arguments: { prompt, size: "1024x1024" } },
        { timeout: patience },
      );
    } catch (error) {
      code = error.code;
    }
    for (let attempt = 0; attempt < 100; attempt++) {
      const found = await call({ name: "list_images", arguments: { text: `"${prompt}"` } });
      if (JSON.parse(found.content[0].text).records.length) return { code, kept: true };
      await new Promise((done) => setTimeout(done, 100));
    }
  }
  return { code, kept: false };
}
