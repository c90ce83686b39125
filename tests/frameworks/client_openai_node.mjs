// openai-node against the sandbox: the whole image surface.
import { mkdtempSync, createReadStream, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI, { AzureOpenAI, toFile } from 'openai';
import {
  BASE_URL, CHAT_MODEL, FIRST, KEY, MODEL, NEXT, TRANSPARENT_MODEL, check, isPng, png, refused, run,
  test,
} from './harness.mjs';

const client = new OpenAI({ apiKey: KEY, baseURL: BASE_URL, maxRetries: 0 });
const draw = { model: MODEL, size: '1024x1024', quality: 'low' };
const tool = { type: 'image_generation', quality: 'low', size: '1024x1024' };
const turn = { model: CHAT_MODEL, tools: [tool] };
const typed = () => toFile(png(), 'fox.png', { type: 'image/png' });
const image = (reply) => Buffer.from(reply.data[0].b64_json, 'base64');
const call = (response) => {
  const found = response.output.find((item) => item.type === 'image_generation_call');
  check(found?.result, response.output.map((item) => item.type));
  return found;
};
const listed = async (pages) => {
  const found = [];
  for await (const each of pages) found.push(each);
  return found;
};

test('generate', async () => {
  const reply = await client.images.generate({ prompt: FIRST, ...draw });
  check(isPng(image(reply)) && reply.usage.output_tokens === 196, reply.usage);
});
test('generate two as webp', async () => {
  const reply = await client.images.generate({ prompt: FIRST, n: 2, output_format: 'webp', ...draw });
  check(reply.data.length === 2 && reply.output_format === 'webp');
});
test('generate, transparent', async () => {
  const given = { ...draw, model: TRANSPARENT_MODEL, background: 'transparent' };
  const reply = await client.images.generate({ prompt: FIRST, ...given });
  check(reply.background === 'transparent', reply.background);
});
test('stream of a generation', async () => {
  const stream = await client.images.generate({ prompt: FIRST, stream: true, partial_images: 2, ...draw });
  const kinds = (await listed(stream)).map((event) => event.type);
  check(kinds.length === 3 && kinds[2] === 'image_generation.completed', kinds);
});
test('edit a file', async () => {
  check(isPng(image(await client.images.edit({ image: await typed(), prompt: NEXT, ...draw }))));
});
test('edit several with a mask', async () => {
  const mask = await toFile(png({ clear: true }), 'mask.png', { type: 'image/png' });
  const given = { image: [await typed(), await typed()], mask, prompt: NEXT, ...draw };
  check(isPng(image(await client.images.edit(given))));
});
test('stream of an edit', async () => {
  const given = { image: await typed(), prompt: NEXT, stream: true, partial_images: 1, ...draw };
  const kinds = (await listed(await client.images.edit(given))).map((event) => event.type);
  check(kinds.at(-1) === 'image_edit.completed', kinds);
});
test('a stream without a type is refused, as by the service', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'fox-')), 'fox');
  writeFileSync(path, png());
  const given = { image: createReadStream(path), prompt: NEXT, ...draw };
  await refused(client.images.edit(given), 400, 'application/octet-stream');
});
test('response with its request id', async () => {
  const { response, request_id } = await client.images.generate({ prompt: FIRST, ...draw }).withResponse();
  check(response.status === 200 && request_id.startsWith('req_'), request_id);
});
test('errors have code and parameter', async () => {
  try {
    await client.images.generate({ prompt: FIRST, ...draw, size: '7x7' });
    check(false, 'it was not refused');
  } catch (error) {
    check(error instanceof OpenAI.BadRequestError && error.param === 'size', String(error));
  }
});
test('variations are gone', async () => {
  await refused(client.images.createVariation({ image: await typed() }), 404, '404');
});
test('models', async () => {
  check((await listed(client.models.list())).some((model) => model.id === MODEL));
  check((await client.models.retrieve(MODEL)).id === MODEL);
});
test('files: create, list, retrieve, delete', async () => {
  const file = await client.files.create({ file: await typed(), purpose: 'vision' });
  check((await listed(client.files.list({ purpose: 'vision' }))).some((each) => each.id === file.id));
  check((await client.files.retrieve(file.id)).filename === 'fox.png');
  check((await client.files.delete(file.id)).deleted);
});
test('an upload in parts', async () => {
  const data = png();
  const upload = await client.uploads.create({ bytes: data.length, filename: 'a.png', mime_type: 'image/png', purpose: 'vision' });
  const part = await client.uploads.parts.create(upload.id, { data: await toFile(data, 'part') });
  const complete = await client.uploads.complete(upload.id, { part_ids: [part.id] });
  check(complete.file.bytes === data.length, complete);
});
test('a batch from upload to results', async () => {
  const line = { custom_id: '1', method: 'POST', url: '/v1/images/generations', body: { prompt: FIRST, ...draw } };
  const input = await toFile(Buffer.from(JSON.stringify(line)), 'b.jsonl');
  const file = await client.files.create({ file: input, purpose: 'batch' });
  let batch = await client.batches.create({ input_file_id: file.id, endpoint: '/v1/images/generations', completion_window: '24h' });
  for (let i = 0; i < 50 && batch.status !== 'completed'; i += 1) batch = await client.batches.retrieve(batch.id);
  check(batch.status === 'completed', batch.status);
  const text = await (await client.files.content(batch.output_file_id)).text();
  check(JSON.parse(text).response.status_code === 200);
});
test('a response with an image', async () => {
  call(await client.responses.create({ input: FIRST, ...turn }));
});
test('two turns by previous_response_id', async () => {
  const first = await client.responses.create({ input: FIRST, ...turn });
  const second = await client.responses.create({ input: NEXT, previous_response_id: first.id, ...turn });
  check(call(second).action === 'edit', call(second).action);
});
test('two turns with whole items, nothing stored', async () => {
  const first = await client.responses.create({ input: FIRST, store: false, ...turn });
  const input = [{ role: 'user', content: FIRST }, ...first.output, { role: 'user', content: NEXT }];
  call(await client.responses.create({ input, store: false, ...turn }));
});
test('two turns of a conversation', async () => {
  const talk = await client.conversations.create({});
  await client.responses.create({ input: FIRST, conversation: talk.id, ...turn });
  call(await client.responses.create({ input: NEXT, conversation: talk.id, ...turn }));
  const items = await listed(client.conversations.items.list(talk.id));
  check(items.filter((item) => item.type === 'image_generation_call').length === 2);
});
test('a function beside the image tool', async () => {
  const other = { type: 'function', name: 'get_animal', strict: false, parameters: { type: 'object', properties: {} } };
  call(await client.responses.create({ input: FIRST, model: CHAT_MODEL, tools: [other, tool] }));
});
test('stream of a response, event by event', async () => {
  const stream = await client.responses.create({ input: FIRST, stream: true, model: CHAT_MODEL, tools: [{ ...tool, partial_images: 2 }] });
  const kinds = (await listed(stream)).map((event) => event.type);
  check(kinds.at(-1) === 'response.completed', kinds);
});
test("the SDK's own stream helper", async () => {
  const stream = client.responses.stream({ input: FIRST, ...turn });
  let text = '';
  stream.on('response.output_text.delta', (event) => { text += event.delta; });
  const final = await stream.finalResponse();
  check(final.output_text === text, [final.output_text, text]);
});
test('background with polling', async () => {
  let response = await client.responses.create({ input: FIRST, background: true, ...turn });
  for (let i = 0; i < 50 && response.status !== 'completed'; i += 1) {
    response = await client.responses.retrieve(response.id);
  }
  call(response);
});
test('retrieve, input items, delete', async () => {
  const response = await client.responses.create({ input: FIRST, ...turn });
  check((await client.responses.retrieve(response.id)).id === response.id);
  check((await listed(client.responses.inputItems.list(response.id))).length === 1);
  await client.responses.delete(response.id);
  await refused(client.responses.retrieve(response.id), 404, response.id);
});
test("Azure's client", async () => {
  const azure = new AzureOpenAI({ apiKey: KEY, baseURL: null, endpoint: BASE_URL.replace(/\/v1$/, ''), apiVersion: '2025-04-01-preview', deployment: MODEL });
  check(isPng(image(await azure.images.generate({ prompt: FIRST, ...draw }))));
});

await run('openai');
