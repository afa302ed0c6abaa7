/**
 * What `scripts/build-runtime.ts` uses of the AssemblyScript compiler. Its own declarations bring
 * globals of the language (console, i32, …) that would hide Node's in the whole project.
 */
declare const asc: {
  main(
    argv: readonly string[],
    options: {
      readFile(name: string, base: string): Promise<string | null>;
      writeFile(name: string, contents: Uint8Array | string): void;
      listFiles(folder: string, base: string): Promise<string[]>;
      stderr: { write(chunk: string | Uint8Array): void };
    },
  ): Promise<{ error: Error | null }>;
};
export default asc;
