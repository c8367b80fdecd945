//! Independent pieces of work on every processor.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Calls `work` for each item, in the order of the items, as many at a time as this machine has processors. Returns the results in the same order.
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let slots: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let queue = Mutex::new(items.into_iter().zip(&slots));
    let take = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.next()
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads.min(slots.len()) {
            scope.spawn(|| {
                while let Some((item, slot)) = take() {
                    let result = work(item);
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                }
            });
        }
    });
    let results = slots
        .into_iter()
        .filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
    results.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_order_of_the_items() {
        let items: Vec<u64> = (0..20).collect();
        let squares = map(items, |item| {
            // The first items take the longest.
            thread::sleep(std::time::Duration::from_millis(20 - item));
            item * item
        });
        assert_eq!(squares, (0..20).map(|item| item * item).collect::<Vec<_>>());
        assert!(map(Vec::<u64>::new(), |item| item).is_empty());
    }
}
