// The TypeScript SDK's first major version, which most hosts are built on.
// node sdk1.mjs stdio COMMAND... | node sdk1.mjs http URL: prints one JSON report.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { report } from "./report.mjs";

const [kind, ...where] = process.argv.slice(2);
const transport =
  kind === "stdio"
    ? new StdioClientTransport({ command: where[0], args: where.slice(1), env: process.env })
    : new StreamableHTTPClientTransport(new URL(where[0]));
const client = new Client({ name: "sdk1", version: "1" });
await client.connect(transport);
console.log(JSON.stringify(await report(client, (params, options) => client.callTool(params, undefined, options))));
await client.close();
