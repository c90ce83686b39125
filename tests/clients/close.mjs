// A client that closes a moment after it was told a handle: node close.mjs 1|2 COMMAND... prints it.
import { setTimeout as pause } from "node:timers/promises";

const [major, command, ...args] = process.argv.slice(2);
const sdk = major === "1" ? "@modelcontextprotocol/sdk/client/index.js" : "@modelcontextprotocol/client";
const stdio = major === "1" ? "@modelcontextprotocol/sdk/client/stdio.js" : "@modelcontextprotocol/client/stdio";
const { Client } = await import(sdk);
const { StdioClientTransport } = await import(stdio);

const client = new Client({ name: "leaves", version: "1" });
await client.connect(new StdioClientTransport({ command, args, env: process.env }));
const wish = { prompt: "A fox", size: "1024x1024", quality: "low" };
const drawn = await client.callTool({ name: "generate_image", arguments: wish });
console.log(drawn.content[0].text);
await pause(1000);
await client.close();
