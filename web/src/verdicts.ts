/** The course of a review: which sample comes next, and the verdicts on their way to the server. */

/** One key, with the samples that it was meant for. */
export interface Verdict {
  number: number;
  field: string;
  action: string;
  samples: string[];
}

const RETRY_MS = 2000;

/** Sends verdicts one batch after the other, in order, until the server has them all. */
export class Outbox {
  readonly session = `${Date.now()}-${Math.random()}`;
  waiting: Verdict[] = [];
  problem: string | null = null;
  private count = 0;
  private sending = false;

  constructor(
    private readonly send: (session: string, verdicts: Verdict[]) => Promise<unknown>,
    private readonly onChange: () => void,
  ) {}

  add(verdict: Omit<Verdict, "number">): void {
    this.waiting.push({ ...verdict, number: ++this.count });
    if (!this.sending) void this.sendAll();
  }

  private async sendAll(): Promise<void> {
    this.sending = true;
    while (this.waiting.length) {
      const batch = [...this.waiting];
      try {
        await this.send(this.session, batch);
        this.waiting.splice(0, batch.length);
        this.problem = null;
      } catch (error) {
        this.problem = (error as Error).message;
        this.onChange();
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
      this.onChange();
    }
    this.sending = false;
  }
}

/** The samples of a review: those ahead, those behind, and those that the user opened or selected. */
export class Course {
  ahead: string[] = [];
  /** The sample that the course begins after; without one, it begins with the view. */
  after: string | null = null;
  /** How often it began. */
  start = 0;
  /** Whether the server has no more samples than those ahead. */
  complete = false;
  /** Whether an undo has made other samples open, which only the server knows. */
  stale = false;
  private behind: string[] = [];
  private chosen: string[] = [];

  /** The samples that the next verdict is for. */
  get targets(): string[] {
    return this.chosen.length ? this.chosen : this.ahead.slice(0, 1);
  }

  choose(samples: string[]): void {
    this.chosen = samples;
  }

  /** Forgets what is ahead, because the view, the field or the open sample has changed. */
  restart(after = this.after): void {
    this.ahead = [];
    this.after = after;
    this.start++;
    this.complete = this.stale = false;
  }

  /** Adds samples to the end, those that the server still lists as open. */
  extend(samples: string[], complete: boolean): void {
    const known = new Set(this.ahead);
    this.ahead.push(...samples.filter((sample) => !known.has(sample)));
    this.complete = complete;
  }

  /** Goes on after a verdict on the targets; selected samples stay selected. Returns the sample that was shown. */
  pass(): string {
    const judged = this.targets;
    this.ahead = this.ahead.filter((sample) => !judged.includes(sample));
    this.behind.push(judged[0]!);
    return judged[0]!;
  }

  /** Goes back to the sample of the last verdict; returns it. */
  back(): string | undefined {
    const sample = this.behind.pop();
    if (!sample) this.stale = true;
    else this.ahead = [sample, ...this.ahead.filter((other) => other !== sample)];
    return sample;
  }
}
