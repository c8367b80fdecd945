//! `EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL`, UEFI 2.10 section 12.4.
#![expect(unsafe_code, reason = "functions called by images")]

use efi_core::{Result, Status};
use uefi_raw::protocol::console::{SimpleTextOutputMode, SimpleTextOutputProtocol};
use uefi_raw::{Boolean, Status as RawStatus};

use crate::access::{pointer, reply, units, write};
use crate::screen::{COLUMNS, ROWS};
use crate::state::{State, with};

type This = *mut SimpleTextOutputProtocol;

/// The interface with its mode.
pub(crate) fn interface(mode: *const SimpleTextOutputMode) -> SimpleTextOutputProtocol {
    SimpleTextOutputProtocol {
        reset,
        output_string,
        test_string,
        query_mode,
        set_mode,
        set_attribute,
        clear_screen,
        set_cursor_position,
        enable_cursor,
        mode,
    }
}

/// The mode of a state.
pub(crate) fn mode(state: &State) -> SimpleTextOutputMode {
    let number = |value: usize| i32::try_from(value).unwrap_or(0);
    SimpleTextOutputMode {
        max_mode: 1,
        mode: 0,
        attribute: state.screen.attribute,
        cursor_column: number(state.screen.column),
        cursor_row: number(state.screen.row),
        cursor_visible: state.screen.is_cursor_visible.into(),
    }
}

/// Changes the screen, sends the bytes for it, and publishes the mode.
fn change(action: impl FnOnce(&mut State) -> Result<()>) -> RawStatus {
    reply(with(|state| {
        action(state)?;
        let value = mode(state);
        // SAFETY: the mode is in the firmware's memory as long as the state exists.
        unsafe { write(pointer::<SimpleTextOutputMode>(state.addresses.text_mode), value) }
    }))
}

unsafe extern "efiapi" fn reset(_: This, _: Boolean) -> RawStatus {
    change(|state| {
        let text = state.screen.set_attribute(7);
        state.platform.write_console(text.as_bytes());
        let text = state.screen.show_cursor(true);
        state.platform.write_console(text.as_bytes());
        Ok(())
    })
}

unsafe extern "efiapi" fn output_string(_: This, text: *const u16) -> RawStatus {
    // SAFETY: the caller passes null or a text with NUL.
    let text = unsafe { units(text) };
    change(|state| {
        let text = state.screen.print(&text?);
        state.platform.write_console(text.as_bytes());
        Ok(())
    })
}

unsafe extern "efiapi" fn test_string(_: This, text: *const u16) -> RawStatus {
    // SAFETY: the caller passes null or a text with NUL.
    reply(unsafe { units(text) })
}

unsafe extern "efiapi" fn query_mode(
    _: *const SimpleTextOutputProtocol,
    mode: usize,
    columns: *mut usize,
    rows: *mut usize,
) -> RawStatus {
    let (width, height, result) = if mode == 0 {
        (COLUMNS, ROWS, Ok(()))
    } else {
        (0, 0, Err(Status::UNSUPPORTED))
    };
    // SAFETY: the caller passes null or valid pointers.
    let first = unsafe { write(columns, width) };
    // SAFETY: as above.
    let second = unsafe { write(rows, height) };
    reply(first.and(second).and(result))
}

unsafe extern "efiapi" fn set_mode(_: This, mode: usize) -> RawStatus {
    if mode != 0 {
        return reply::<()>(Err(Status::UNSUPPORTED));
    }
    clear()
}

unsafe extern "efiapi" fn set_attribute(_: This, attribute: usize) -> RawStatus {
    change(|state| {
        let attribute = u8::try_from(attribute)
            .ok()
            .filter(|attribute| attribute & 0x80 == 0);
        let text = state.screen.set_attribute(attribute.ok_or(Status::UNSUPPORTED)?);
        state.platform.write_console(text.as_bytes());
        Ok(())
    })
}

unsafe extern "efiapi" fn clear_screen(_: This) -> RawStatus {
    clear()
}

fn clear() -> RawStatus {
    change(|state| {
        let text = state.screen.clear();
        state.platform.write_console(text.as_bytes());
        Ok(())
    })
}

unsafe extern "efiapi" fn set_cursor_position(_: This, column: usize, row: usize) -> RawStatus {
    change(|state| {
        let text = state.screen.move_to(column, row).ok_or(Status::UNSUPPORTED)?;
        state.platform.write_console(text.as_bytes());
        Ok(())
    })
}

unsafe extern "efiapi" fn enable_cursor(_: This, is_visible: Boolean) -> RawStatus {
    change(|state| {
        let text = state.screen.show_cursor(is_visible.is_true());
        state.platform.write_console(text.as_bytes());
        Ok(())
    })
}
