//! The protocol as a plugin of `boot-core`.

use boot_core::protocol::validate_request;
use boot_core::{
    BootPlan, BootProtocol, BootRequest, IncompatibleImage, KernelImage, PlanError, Priority, Support,
};
use boot_sandbox::{GuestImage, SANDBOX};

use crate::entry::Entry;
use crate::layout::GuestLayout;
use crate::plan::{NAME, build, error};
use crate::sizes::Sizes;

/// The protocol of sandboxes, for lists of protocols.
pub const PROTOCOL: Sandbox = Sandbox;

/// The protocol of sandboxes with default sizes, or those that the guest needs, and the usual doorbell of the architecture.
/// [`plan`](crate::plan()) takes others.
///
/// The machine needs RAM at the addresses of [`sandbox_abi::layout`]. The command line is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sandbox;

impl BootProtocol for Sandbox {
    fn name(&self) -> &'static str {
        NAME
    }

    fn priority(&self) -> Priority {
        Priority::SPECIFIC
    }

    fn supports(&self, image: &KernelImage) -> Result<Support, IncompatibleImage> {
        match image.metadata::<GuestImage>() {
            Some(_) => Ok(Support::declared("it has the note of a sandbox's guest")),
            None => Err(IncompatibleImage::NoEntry { expected: &[SANDBOX] }),
        }
    }

    fn plan(&self, request: &BootRequest<'_>) -> Result<BootPlan, PlanError> {
        validate_request(self, request)?;
        request.cmdline_bytes(0)?;
        let image = request.image;
        let sizes = image
            .metadata::<GuestImage>()
            .map_or_else(Sizes::default, |guest| Sizes::default().at_least(guest.note()));
        let layout = GuestLayout::new(image, &sizes).map_err(error)?;
        Ok(build(request, &layout, &Entry::new(image.arch()))?.plan)
    }
}
