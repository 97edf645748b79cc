/** Says at most once a second how far long work is; the last step is always said. */
export function createProgress(what: string, total: number): (done: number, more?: string) => void {
  let last = -Infinity;
  const began = performance.now();
  return (done, more = "") => {
    const now = performance.now();
    if (now - last < 1000 && done < total) return;
    last = now;
    const seconds = ((now - began) / 1000).toFixed(0);
    console.log(`  ${what}: ${done} of ${total}, ${seconds} s${more === "" ? "" : `, ${more}`}`);
  };
}
