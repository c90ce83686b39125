// The official host of MCP Apps (AppBridge of @modelcontextprotocol/ext-apps), with the names
// plain.html has: `show`, `notify`, `asked`. It checks every message against the protocol's schemas.
import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";

const asked = (window.asked = []);
let bridge;

window.show = (url, { capabilities, context }) => {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.style.border = "0";
  document.body.append(frame);
  window.addEventListener("message", ({ source, data }) => {
    if (source === frame.contentWindow) asked.push(data);
  });
  bridge = new AppBridge(null, { name: "official", version: "1" }, capabilities, { hostContext: context });
  const pass = (method) => async (params) => JSON.parse(await window.server(method, JSON.stringify(params)));
  bridge.oncalltool = pass("tools/call");
  bridge.onreadresource = pass("resources/read");
  bridge.onmessage = pass("ui/message");
  bridge.onupdatemodelcontext = pass("ui/update-model-context");
  bridge.ondownloadfile = pass("ui/download-file");
  bridge.onsizechange = ({ height }) => { frame.style.height = `${height}px`; };
  bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.src = url;
};

window.notify = (method, params) => ({
  "ui/notifications/tool-input": () => bridge.sendToolInput(params),
  "ui/notifications/tool-result": () => bridge.sendToolResult(params),
  "ui/notifications/tool-cancelled": () => bridge.sendToolCancelled(params),
  "ui/notifications/host-context-changed": () => bridge.setHostContext(params),
})[method]();
