import { type RefObject, useEffect, useRef } from "react";

const MODAL = '[data-cy="modal"]';

export function inModal(element: Element | null): boolean {
  return !!element?.closest(MODAL);
}

/** Listens to keys while a component is in sight, nothing is being typed elsewhere, and no sample is open above it. */
export function useKeys(root: RefObject<HTMLElement>, onKey: (key: string) => boolean): void {
  const latest = useRef(onKey);
  latest.current = onKey;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const chord = event.ctrlKey || event.metaKey || event.altKey;
      if (chord || event.repeat || isTyping(event.target) || !root.current?.offsetParent) return;
      if (document.querySelector(MODAL) && !inModal(root.current)) return;
      if (latest.current(event.key)) {
        event.preventDefault();
        event.stopPropagation(); // the App has keys of its own
      }
    };
    window.addEventListener("keydown", listen, true);
    return () => window.removeEventListener("keydown", listen, true);
  }, [root]);
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
