/**
 * The first key that an object in a JSON text has twice, or undefined. `text` must be valid JSON: JSON.parse keeps the last of
 * two equal keys without a word, which in a file from elsewhere can hide what another reader would see.
 */
export function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/gsu;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [whole, colon] = match;
    if (whole === '{') open.push(new Set());
    else if (whole === '[') open.push(undefined);
    else if (whole === '}' || whole === ']') open.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(whole.slice(0, whole.length - colon.length)) as string;
      const seen = open.at(-1);
      if (seen?.has(key) === true) return key;
      seen?.add(key);
    }
  }
  return undefined;
}
