/** Does one job at a time; of the jobs that come meanwhile, only the newest is done. */
export class Latest<Job> {
  private running = false;
  private next: Job | null = null;

  constructor(private readonly work: (job: Job) => Promise<void>) {}

  ask(job: Job): void {
    if (this.running) {
      this.next = job;
      return;
    }
    this.running = true;
    void this.work(job).finally(() => {
      this.running = false;
      const { next } = this;
      this.next = null;
      if (next !== null) this.ask(next);
    });
  }
}
