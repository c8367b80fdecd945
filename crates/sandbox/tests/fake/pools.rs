//! Pools of sandboxes.

use std::thread;

use sandbox::{CallError, Pool, Status};

use crate::snapshots::{build, functions};

fn count(sandbox: &mut sandbox::Sandbox<sandbox::Fake>) -> u64 {
    sandbox.call("count", ()).unwrap()
}

#[test]
fn sandboxes_return_to_the_snapshot_and_to_their_thread() {
    let mut first = build(&functions());
    assert_eq!(count(&mut first), 1);
    let pool = Pool::new(&first.snapshot().unwrap(), |builder| builder, 2);
    pool.fill(5).unwrap();
    assert_eq!(pool.idle(), 2);
    let mut taken: Vec<_> = (0..3).map(|_| pool.take().unwrap()).collect();
    assert_eq!(pool.idle(), 0);
    for sandbox in &mut taken {
        assert_eq!((count(sandbox), count(sandbox)), (2, 3));
    }
    let error = taken[0].call_bytes("halt", &[], &mut Vec::new());
    assert!(matches!(error, Err(CallError::Crashed(_))));
    assert_ne!(taken[0].status(), Status::Ready);
    drop(taken);
    assert_eq!(pool.idle(), 2);
    let other = pool.clone();
    let moved = thread::spawn(move || {
        let mut sandbox = other.take().unwrap();
        assert_eq!(count(&mut sandbox), 2);
        // Mark it: pages stay resident when a sandbox returns.
        sandbox.call::<_, ()>("set", (7u64, 7u8)).unwrap();
    });
    moved.join().unwrap();
    assert_eq!(pool.idle(), 2);
    // This thread gets the one that ran here, the other one is that of the thread.
    let mut sandbox = pool.take().unwrap();
    assert_eq!((count(&mut sandbox), sandbox.memory().resident), (2, 0x1000));
    let other = pool.take().unwrap();
    assert_eq!(other.memory().resident, 0x2000);
}
