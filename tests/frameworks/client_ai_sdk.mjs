// Vercel's AI SDK against the sandbox: image models, and text models with the image tool.
import { createAzure } from '@ai-sdk/azure';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateImage, generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import {
  BASE_URL, CHAT_MODEL, FIRST, KEY, MODEL, NEXT, TRANSPARENT_MODEL, check, isPng, png, run, test,
} from './harness.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;
const openai = createOpenAI({ apiKey: KEY, baseURL: BASE_URL });
const settings = { size: '1024x1024', providerOptions: { openai: { quality: 'low' } }, maxRetries: 0 };
const tools = (more = {}) => ({
  image_generation: openai.tools.imageGeneration({ quality: 'low', size: '1024x1024', ...more }),
});
const text = (given) => generateText({ model: openai.responses(CHAT_MODEL), tools: tools(), maxRetries: 0, ...given });
const drawn = (result) => {
  const found = result.steps.flatMap((step) => step.toolResults).filter((each) => each.toolName === 'image_generation');
  check(found.length, result.steps.map((step) => step.content.map((part) => part.type)));
  return Buffer.from(found.at(-1).output.result, 'base64');
};
const animal = tool({ description: 'The animal to draw', inputSchema: z.object({}), execute: async () => 'axolotl' });

test('generateImage', async () => {
  const { image, usage } = await generateImage({ model: openai.image(MODEL), prompt: FIRST, ...settings });
  check(isPng(image.uint8Array) && usage.outputTokens === 196, usage);
});
test('generateImage, several', async () => {
  const { images } = await generateImage({ model: openai.image(MODEL), prompt: FIRST, n: 3, ...settings });
  check(images.length === 3);
});
test('generateImage as webp', async () => {
  const providerOptions = { openai: { quality: 'low', outputFormat: 'webp', outputCompression: 50 } };
  const { image } = await generateImage({ model: openai.image(MODEL), prompt: FIRST, ...settings, providerOptions });
  check(image.mediaType === 'image/webp', image.mediaType);
});
test('generateImage as gif', async () => {
  const providerOptions = { openai: { quality: 'low', outputFormat: 'gif' } };
  const { image } = await generateImage({ model: openai.image(TRANSPARENT_MODEL), prompt: FIRST, ...settings, size: '512x512', providerOptions });
  check(Buffer.from(image.uint8Array).subarray(0, 3).toString() === 'GIF');
});
test('generateImage, transparent', async () => {
  const providerOptions = { openai: { quality: 'low', background: 'transparent' } };
  const { image } = await generateImage({ model: openai.image(TRANSPARENT_MODEL), prompt: FIRST, ...settings, providerOptions });
  check(isPng(image.uint8Array));
});
test('generateImage with moderation', async () => {
  const providerOptions = { openai: { quality: 'low', moderation: 'low' } };
  await generateImage({ model: openai.image(MODEL), prompt: FIRST, ...settings, providerOptions });
});
test('edit an image', async () => {
  const { image } = await generateImage({ model: openai.image(MODEL), prompt: { text: NEXT, images: [png()] }, ...settings });
  check(isPng(image.uint8Array));
});
test('edit several with a mask', async () => {
  const prompt = { text: NEXT, images: [png(), png()], mask: png({ clear: true }) };
  check(isPng((await generateImage({ model: openai.image(MODEL), prompt, ...settings })).image.uint8Array));
});
test('errors keep their status', async () => {
  try {
    await generateImage({ model: openai.image(MODEL), prompt: FIRST, ...settings, size: '7x7' });
    check(false, 'it was not refused');
  } catch (error) {
    check(error.statusCode === 400 && error.message.includes('size'), String(error));
  }
});
test('generateText draws', async () => {
  check(isPng(drawn(await text({ prompt: FIRST }))));
});
test('streamText draws', async () => {
  const result = streamText({ model: openai.responses(CHAT_MODEL), tools: tools(), prompt: FIRST });
  const kinds = [];
  for await (const part of result.fullStream) kinds.push(part.type === 'error' ? part.error : part.type);
  check(kinds.includes('tool-result') && kinds.at(-1) === 'finish', kinds);
});
test('streamText with partial images', async () => {
  const result = streamText({ model: openai.responses(CHAT_MODEL), tools: tools({ partialImages: 2 }), prompt: FIRST });
  let previews = 0;
  for await (const part of result.fullStream) previews += part.type === 'tool-result' ? 1 : 0;
  check(previews === 3, previews); // the last one is the image
});
test('two turns by messages', async () => {
  const first = await text({ prompt: FIRST });
  const messages = [{ role: 'user', content: FIRST }, ...first.response.messages, { role: 'user', content: NEXT }];
  check(isPng(drawn(await text({ messages }))));
});
test('two turns by messages, nothing stored', async () => {
  const providerOptions = { openai: { store: false } };
  const first = await text({ prompt: FIRST, providerOptions });
  const messages = [{ role: 'user', content: FIRST }, ...first.response.messages, { role: 'user', content: NEXT }];
  check(isPng(drawn(await text({ messages, providerOptions }))));
});
test('two turns by previousResponseId', async () => {
  const first = await text({ prompt: FIRST });
  const previousResponseId = first.providerMetadata.openai.responseId;
  check(isPng(drawn(await text({ prompt: NEXT, providerOptions: { openai: { previousResponseId } } }))));
});
test('two turns of a conversation', async () => {
  const made = await fetch(`${BASE_URL}/conversations`, { method: 'POST', headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }, body: '{}' });
  const { id: conversation } = await made.json();
  const providerOptions = { openai: { conversation } };
  await text({ prompt: FIRST, providerOptions });
  check(isPng(drawn(await text({ prompt: NEXT, providerOptions }))));
});
test('a function beside the image tool', async () => {
  const result = await text({ prompt: FIRST, tools: { ...tools(), animal }, stopWhen: stepCountIs(3) });
  check(isPng(drawn(result)));
});
test('an image in the input', async () => {
  const content = [{ type: 'text', text: NEXT }, { type: 'file', data: png(), mediaType: 'image/png' }];
  check(isPng(drawn(await text({ messages: [{ role: 'user', content }] }))));
});
test('a chosen tool', async () => {
  check(isPng(drawn(await text({ prompt: FIRST, toolChoice: { type: 'tool', toolName: 'image_generation' } }))));
});
test('instructions, metadata and reasoning', async () => {
  const providerOptions = { openai: { metadata: { a: 'b' }, reasoningEffort: 'low', reasoningSummary: 'auto', textVerbosity: 'low', user: 'u1', instructions: 'Draw.' } };
  check(isPng(drawn(await text({ prompt: FIRST, providerOptions }))));
});
test('the OpenAI-compatible provider', async () => {
  const other = createOpenAICompatible({ name: 'sandbox', apiKey: KEY, baseURL: BASE_URL });
  const { image } = await generateImage({ model: other.imageModel(MODEL), prompt: FIRST, size: '1024x1024', maxRetries: 0 });
  check(isPng(image.uint8Array));
});
test("Azure's provider", async () => {
  const azure = createAzure({ apiKey: KEY, baseURL: `${BASE_URL.replace(/\/v1$/, '')}/openai` });
  const { image } = await generateImage({ model: azure.image(MODEL), prompt: FIRST, size: '1024x1024', maxRetries: 0 });
  check(isPng(image.uint8Array));
});

await run('ai', '@ai-sdk/openai', '@ai-sdk/azure', '@ai-sdk/openai-compatible');
