// Cases of one framework in Node, in the lines of JSON that harness.py prints.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { deflateSync, crc32 } from 'node:zlib';

export const BASE_URL = process.env.OPENAI_BASE_URL;
export const KEY = process.env.OPENAI_API_KEY;
export const MODEL = 'gpt-image-2.5-flare';
export const TRANSPARENT_MODEL = 'gpt-image-2.6-flare';
export const CHAT_MODEL = 'gpt-6-luna';
export const FIRST = 'Draw a red fox in the snow.';
export const NEXT = 'Now draw it at night.';

const cases = [];

// notOurs: why the framework itself cannot do it; the case is run all the same, and reported apart.
export function test(name, run, notOurs = '') {
  cases.push({ name, run, notOurs });
}

export async function run(...packages) {
  const require = createRequire(import.meta.url);
  const versions = packages.map((name) => `${name} ${version(require, name)}`).join(', ');
  print({ cases: cases.length, versions });
  for (const { name, run: attempt, notOurs } of cases) {
    let error = null;
    try {
      await attempt();
    } catch (caught) {
      error = `${caught?.name ?? 'Error'}: ${String(caught?.message ?? caught)}`
        .replace(/\s+/g, ' ')
        .slice(0, 300);
    }
    print({ case: name, not_ours: notOurs, error });
  }
  process.exit(0);
}

function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function version(require, name) {
  const folder = require.resolve.paths(name).map((each) => `${each}/${name}/package.json`);
  for (const path of folder) {
    try {
      return JSON.parse(readFileSync(path, 'utf8')).version;
    } catch {
      continue;
    }
  }
  return 'unknown';
}

export function check(condition, message = '') {
  if (!condition) throw new Error(`expected otherwise: ${JSON.stringify(message)?.slice(0, 250)}`);
}

export async function refused(promise, status, words) {
  try {
    await promise;
  } catch (error) {
    check(error.status === status || error.statusCode === status, String(error));
    check(String(error.message).includes(words), String(error));
    return;
  }
  throw new Error('it was not refused');
}

// A small PNG of one colour; clear: its upper half is transparent.
export function png({ width = 64, height = 64, clear = false } = {}) {
  const rows = Buffer.alloc(height * (1 + width * 4));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = y * (1 + width * 4) + 1 + x * 4;
      rows.set([0x20, 0x80, 0x80, clear && y < height / 2 ? 0 : 255], at);
    }
  }
  const chunk = (kind, data) => {
    const checked = Buffer.concat([Buffer.from(kind), data]);
    const out = Buffer.alloc(checked.length + 8);
    out.writeUInt32BE(data.length, 0);
    checked.copy(out, 4);
    out.writeUInt32BE(crc32(checked), checked.length + 4);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 6, 0, 0, 0], 8);
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]);
  const pieces = [chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))];
  return Buffer.concat([magic, ...pieces]);
}

export function isPng(data) {
  return Buffer.from(data).subarray(1, 4).toString() === 'PNG';
}
