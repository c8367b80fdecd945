//! Service calls from bytes, with arguments from small sets so that they meet, and models that share no code with the crate.

mod arguments;
mod event_calls;
mod handle_calls;
mod memory_calls;

use arguments::Arguments;

/// Makes the calls of the input and checks the invariants after each of them.
pub(crate) fn run(input: &[u8]) {
    let mut arguments = Arguments::new(input);
    let mut memory = memory_calls::Model::new(if arguments.byte() & 1 == 0 { 1 } else { 16 });
    let mut handles = handle_calls::Model::new();
    let mut events = event_calls::Model::new();
    while let Some(call) = arguments.call() {
        match call % 3 {
            0 => memory.step(&mut arguments),
            1 => handles.step(&mut arguments),
            _ => events.step(&mut arguments),
        }
    }
}
