//! Loaded images, UEFI 2.10 section 7.4: who started whom, and where `Exit` returns. Loading itself is elsewhere.

use alloc::vec::Vec;

use crate::handles::Handle;
use crate::sorted_map::SortedMap;
use crate::{Result, Status};

/// Kind of an image by its subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageKind {
    /// An application: it is unloaded when it exits.
    Application,
    /// A driver of boot services: it stays loaded if it exits with success.
    BootDriver,
    /// A driver of runtime services: it stays loaded if it exits with success, and is in runtime memory.
    RuntimeDriver,
}

impl ImageKind {
    /// The kind for a subsystem of the PE header, or `None` if the firmware does not start it.
    #[must_use]
    pub const fn from_subsystem(subsystem: u16) -> Option<Self> {
        match subsystem {
            10 => Some(Self::Application),
            11 => Some(Self::BootDriver),
            12 => Some(Self::RuntimeDriver),
            _ => None,
        }
    }

    /// True for drivers.
    #[must_use]
    pub const fn is_driver(self) -> bool {
        !matches!(self, Self::Application)
    }
}

/// State of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Loaded and not started.
    Loaded,
    /// Started and not returned.
    Running,
    /// A driver that exited with success.
    Resident,
}

/// A loaded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The image that loaded it.
    pub parent: Option<Handle>,
    /// Kind.
    pub kind: ImageKind,
    /// Address of its entry point.
    pub entry: u64,
    /// Address of its first page.
    pub base: u64,
    /// Number of its pages.
    pub pages: u64,
    /// State.
    pub state: State,
    /// Where `Exit` jumps to; set by the caller of the entry point.
    pub return_point: u64,
}

/// What the caller of `Exit` has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Return from `StartImage` at this return point. The image has to be unloaded then, if `unload` is true.
    Return {
        /// The return point of the image.
        return_point: u64,
        /// True if the image does not stay loaded.
        unload: bool,
    },
    /// The image was not started: unload it and return to the caller of `Exit`.
    Unload,
}

/// Depth of nested starts; one more fails.
const MAX_DEPTH: usize = 32;
/// Images that may be loaded at the same time.
const MAX_IMAGES: usize = 1024;

/// All loaded images, and the stack of running ones.
#[derive(Clone, Debug, Default)]
pub struct Images {
    images: SortedMap<Handle, Image>,
    running: Vec<Handle>,
}

impl Images {
    /// No images.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            images: SortedMap::new(),
            running: Vec::new(),
        }
    }

    /// Adds an image that was loaded; its state becomes [`State::Loaded`].
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle has an image; `OUT_OF_RESOURCES` if there are too many.
    pub fn add(&mut self, handle: Handle, image: Image) -> Result<()> {
        if self.images.contains_key(&handle) {
            return Err(Status::INVALID_PARAMETER);
        }
        if self.images.len() >= MAX_IMAGES {
            return Err(Status::OUT_OF_RESOURCES);
        }
        self.images.insert(
            handle,
            Image {
                state: State::Loaded,
                return_point: 0,
                ..image
            },
        );
        Ok(())
    }

    /// The image of a handle.
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<&Image> {
        self.images.get(&handle)
    }

    /// The image that was started last and has not returned.
    #[must_use]
    pub fn current(&self) -> Option<Handle> {
        self.running.last().copied()
    }

    /// The image whose pages have this address.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<Handle> {
        let len = |image: &Image| image.pages.saturating_mul(crate::memory::PAGE_SIZE);
        let mut all = self.images.iter();
        all.find(|(_, image)| {
            address
                .checked_sub(image.base)
                .is_some_and(|offset| offset < len(image))
        })
        .map(|(handle, _)| *handle)
    }

    /// `StartImage` up to the call of the entry point, which is returned.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle has no image or the image was started; `OUT_OF_RESOURCES` if starts are nested too
    /// deep.
    pub fn start(&mut self, handle: Handle) -> Result<u64> {
        let image = self.images.get_mut(&handle).ok_or(Status::INVALID_PARAMETER)?;
        if image.state != State::Loaded {
            return Err(Status::INVALID_PARAMETER);
        }
        if self.running.len() >= MAX_DEPTH {
            return Err(Status::OUT_OF_RESOURCES);
        }
        image.state = State::Running;
        self.running.push(handle);
        Ok(image.entry)
    }

    /// Sets where `Exit` of a running image jumps to.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the image is not running.
    pub fn set_return_point(&mut self, handle: Handle, return_point: u64) -> Result<()> {
        let image = self.images.get_mut(&handle).ok_or(Status::INVALID_PARAMETER)?;
        if image.state != State::Running {
            return Err(Status::INVALID_PARAMETER);
        }
        image.return_point = return_point;
        Ok(())
    }

    /// `Exit`, and the return of an entry point, which is the same.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle has no image, is resident, or is not the image that was started last.
    pub fn exit(&mut self, handle: Handle, status: Status) -> Result<Exit> {
        let image = self.images.get_mut(&handle).ok_or(Status::INVALID_PARAMETER)?;
        if image.state == State::Loaded {
            return Ok(Exit::Unload);
        }
        if image.state != State::Running || self.running.last() != Some(&handle) {
            return Err(Status::INVALID_PARAMETER);
        }
        self.running.pop();
        image.state = State::Resident;
        let unload = status.is_error() || !image.kind.is_driver();
        Ok(Exit::Return {
            return_point: image.return_point,
            unload,
        })
    }

    /// Removes an image that is not running; the caller frees its pages.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the handle has no image; `UNSUPPORTED` if the image runs.
    pub fn remove(&mut self, handle: Handle) -> Result<Image> {
        let image = self.images.get(&handle).ok_or(Status::INVALID_PARAMETER)?;
        if image.state == State::Running {
            return Err(Status::UNSUPPORTED);
        }
        self.images.remove(&handle).ok_or(Status::INVALID_PARAMETER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Image = Image {
        parent: None,
        kind: ImageKind::Application,
        entry: 0x1_1000,
        base: 0x1_0000,
        pages: 2,
        state: State::Resident,
        return_point: 9,
    };
    const INVALID: Status = Status::INVALID_PARAMETER;

    #[test]
    fn images_return_to_their_starter_in_order() {
        let mut images = Images::new();
        let [outer, inner] = [Handle(1), Handle(2)];
        images.add(outer, IMAGE).unwrap();
        assert_eq!(images.add(outer, IMAGE), Err(INVALID));
        images
            .add(
                inner,
                Image {
                    base: 0x2_0000,
                    ..IMAGE
                },
            )
            .unwrap();
        assert_eq!(
            [0xffff, 0x1_1fff, 0x1_2000, 0x2_0000].map(|at| images.at(at)),
            [None, Some(outer), None, Some(inner)]
        );
        assert_eq!(images.set_return_point(outer, 5), Err(INVALID));
        assert_eq!(images.start(outer), Ok(0x1_1000));
        assert_eq!(images.start(outer), Err(INVALID));
        assert_eq!(images.set_return_point(outer, 5), Ok(()));
        assert_eq!(images.start(inner), Ok(0x1_1000));
        assert_eq!(images.current(), Some(inner));
        assert_eq!(images.exit(outer, Status::SUCCESS), Err(INVALID));
        assert_eq!(images.remove(inner), Err(Status::UNSUPPORTED));
        assert_eq!(
            images.exit(inner, Status::SUCCESS),
            Ok(Exit::Return {
                return_point: 0,
                unload: true
            })
        );
        assert_eq!(images.exit(inner, Status::SUCCESS), Err(INVALID));
        assert_eq!(
            images.exit(outer, Status::ABORTED),
            Ok(Exit::Return {
                return_point: 5,
                unload: true
            })
        );
        assert_eq!(images.remove(outer).unwrap().state, State::Resident);
        assert_eq!(images.remove(outer), Err(INVALID));
        assert_eq!(images.exit(Handle(7), Status::SUCCESS), Err(INVALID));
    }

    #[test]
    fn drivers_stay_after_success() {
        let mut images = Images::new();
        let driver = Handle(1);
        images
            .add(
                driver,
                Image {
                    kind: ImageKind::BootDriver,
                    ..IMAGE
                },
            )
            .unwrap();
        assert_eq!(images.exit(driver, Status::SUCCESS), Ok(Exit::Unload));
        images.start(driver).unwrap();
        assert_eq!(
            images.exit(driver, Status::SUCCESS),
            Ok(Exit::Return {
                return_point: 0,
                unload: false
            })
        );
        assert_eq!(images.start(driver), Err(INVALID));
        let kinds = [9, 10, 11, 12, 13].map(ImageKind::from_subsystem);
        let drivers = [Some(ImageKind::BootDriver), Some(ImageKind::RuntimeDriver)];
        assert_eq!(
            kinds,
            [None, Some(ImageKind::Application), drivers[0], drivers[1], None]
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let mut images = Images::new();
        for number in 0..33 {
            images.add(Handle(number), IMAGE).unwrap();
        }
        let started = (0..33)
            .filter(|number| images.start(Handle(*number)).is_ok())
            .count();
        assert_eq!(started, 32);
        assert_eq!(images.start(Handle(32)), Err(Status::OUT_OF_RESOURCES));
    }
}
