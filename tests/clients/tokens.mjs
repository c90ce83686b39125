// How many tokens texts are, as o200k_base counts them: node tokens.mjs FILE prints a JSON list.
// The file is a JSON list of texts.
import { readFileSync } from "node:fs";
import { encode } from "gpt-tokenizer/encoding/o200k_base";

const texts = JSON.parse(readFileSync(process.argv[2], "utf8"));
console.log(JSON.stringify(texts.map((text) => encode(text).length)));
