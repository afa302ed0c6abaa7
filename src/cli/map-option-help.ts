/** How `--map` is written, as a paragraph of `--help`; apart from what reads it, which takes longer to load. */
export const mapOptionHelp = `
KEY and VALUE of --map are written as in weir map update, by their types: blocked=203.0.113.0/24:7,
"limits=udp:{min: 12}", peers=1=2001:db8::1 (with = between them where a value has colons of its own).
Where both are bare hex digits, as many as their sizes take, they are bytes: 35000000:0a00000000000000.`;
