// SPDX-License-Identifier: GPL-2.0

//! An IOMMU in software, in test builds only, with the calls that the kernel's own tests of
//! `/dev/iommu` make.
//!
//! Its devices are on the platform bus, and do nothing by themselves: the calls say what a device
//! does, and look at what the IOMMU has been told. What they are is in the kernel's source
//! (`drivers/iommu/iommufd/iommufd_test.h`), against which this is built.

use crate::objects::context::Context;
use face::{
    command::Command,
    device::{
        Device,
        Iommu, //
    },
    dmabuf, //
};
use kernel::{
    ioctl::_IO,
    prelude::*,
    sync::Arc,
    uaccess::UserPtr, //
};

mod access;
mod check;
mod device;
mod dirty;
#[allow(unsafe_code)]
mod face;
#[allow(unsafe_code)]
mod sys;

/// The one call that tests make (`IOMMU_TEST_CMD`).
pub(crate) const TEST_CMD: u32 = _IO(kernel::bindings::IOMMUFD_TYPE as u32, 0xa0);

/// The IOMMU, as the module has it.
pub(crate) struct Mock {
    _iommu: Iommu,
}

impl Mock {
    /// Makes it known to the core, and the mock's dma-bufs to the driver.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        dmabuf::admit();
        Ok(Self {
            _iommu: Iommu::register()?,
        })
    }
}

/// Serves a test call.
///
/// # Errors
///
/// `EOPNOTSUPP`: there is no such operation, or not yet; and those of the operation.
pub(crate) fn ioctl(ctx: &Arc<Context>, arg: usize) -> Result<isize> {
    let cmd = Command::read(UserPtr::from_addr(arg))?;
    match cmd.op() {
        sys::IOMMU_TEST_OP_DMABUF_GET => {
            return Ok(dmabuf::export(cmd.buf_length(), cmd.buf_flags())? as isize)
        }
        sys::IOMMU_TEST_OP_DMABUF_REVOKE => dmabuf::revoke(cmd.buf_fd(), cmd.buf_revoked() != 0),
        sys::IOMMU_TEST_OP_ADD_RESERVED => check::reserve(ctx, &cmd),
        sys::IOMMU_TEST_OP_MOCK_DOMAIN => device::add(ctx, cmd, Device::add(0)?),
        sys::IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS => {
            let flags = cmd.device_flags();
            device::add_with(ctx, cmd, flags)
        }
        sys::IOMMUFD_MOCK_OP_ADD_BESIDE => device::add_beside(ctx, cmd),
        sys::IOMMUFD_MOCK_OP_FAIL_PASID => device::fail_pasid(ctx, &cmd),
        sys::IOMMUFD_MOCK_OP_CHECK_TOLD => device::check_told(ctx, &cmd),
        sys::IOMMUFD_MOCK_OP_ADD_UNTRANSLATED => device::add(ctx, cmd, Device::untranslated()?),
        sys::IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE => device::replace(ctx, cmd),
        sys::IOMMU_TEST_OP_PASID_ATTACH => device::attach_pasid(ctx, cmd),
        sys::IOMMU_TEST_OP_PASID_REPLACE => device::replace_pasid(ctx, cmd),
        sys::IOMMU_TEST_OP_PASID_DETACH => device::detach_pasid(ctx, &cmd),
        sys::IOMMU_TEST_OP_PASID_CHECK_HWPT => device::check_pasid(ctx, &cmd),
        sys::IOMMU_TEST_OP_MD_CHECK_MAP => check::map(ctx, &cmd),
        sys::IOMMU_TEST_OP_MD_CHECK_IOTLB => check::iotlb(ctx, &cmd),
        sys::IOMMU_TEST_OP_MD_CHECK_REFS => check::pins(&cmd),
        sys::IOMMU_TEST_OP_DIRTY => dirty::mark(ctx, cmd),
        sys::IOMMU_TEST_OP_DEV_CHECK_CACHE => device::check_cache(ctx, &cmd),
        sys::IOMMU_TEST_OP_TRIGGER_IOPF => device::fault(ctx, &cmd, true),
        sys::IOMMUFD_MOCK_OP_TRIGGER_PART => device::fault(ctx, &cmd, false),
        sys::IOMMUFD_MOCK_OP_FLUSHES => dirty::flushes(ctx, cmd),
        sys::IOMMUFD_MOCK_OP_ANSWERS => device::answers(ctx, cmd),
        sys::IOMMU_TEST_OP_TRIGGER_VEVENT => device::trigger_event(ctx, &cmd),
        sys::IOMMU_TEST_OP_CREATE_ACCESS => access::create(ctx, cmd),
        sys::IOMMU_TEST_OP_ACCESS_REPLACE_IOAS => access::replace_ioas(&cmd),
        sys::IOMMU_TEST_OP_ACCESS_PAGES => access::pin(cmd),
        sys::IOMMU_TEST_OP_DESTROY_ACCESS_PAGES => access::unpin(&cmd),
        sys::IOMMU_TEST_OP_ACCESS_RW => access::read_or_write(&cmd),
        sys::IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT => limit_memory(&cmd),
        _ => Err(EOPNOTSUPP),
    }?;
    Ok(0)
}

/// `SET_TEMP_MEMORY_LIMIT`: how much memory a batch of pages may take. Batches here have a size of
/// their own, which is small, so that tests meet their ends anyway.
///
/// # Errors
///
/// `EINVAL`: not a single page would fit.
fn limit_memory(cmd: &Command) -> Result {
    let least = size_of::<usize>() + size_of::<u32>();
    if (cmd.memory_limit() as usize) < least {
        return Err(EINVAL);
    }
    Ok(())
}

/// Ends what tests have made in a context whose file is closed.
pub(crate) fn release(ctx: &Context) {
    device::end(ctx);
}
