// The TypeScript SDK's second major version; MODE is "auto" or "legacy".
// node sdk2.mjs MODE stdio COMMAND... | node sdk2.mjs MODE http URL: prints one JSON report.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { report } from "./report.mjs";

const [mode, kind, ...where] = process.argv.slice(2);
const transport =
  kind === "stdio"
    ? new StdioClientTransport({ command: where[0], args: where.slice(1), env: process.env })
    : new StreamableHTTPClientTransport(new URL(where[0]));
const client = new Client({ name: "sdk2", version: "2" }, { versionNegotiation: { mode } });
await client.connect(transport);
console.log(JSON.stringify(await report(client, (params, options) => client.callTool(params, options))));
await client.close();
