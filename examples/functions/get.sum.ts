// GET /sum?a=1&b=2: TypeScript, run as it is.
//
// Node strips the types when it loads the file; there is no build.

interface Event {
  query: Record<string, string | string[] | true>;
}

export function handler(event: Event): object {
  const numbers: number[] = Object.values(event.query).flat().map(Number);
  if (numbers.some(Number.isNaN)) {
    return { status: 400, body: { error: "only numbers can be added" } };
  }
  return { numbers, sum: numbers.reduce((sum: number, each: number) => sum + each, 0) };
}
