// SPDX-License-Identifier: GPL-2.0

//! Devices, their groups, and who owns their DMA. Would become `rust/kernel/iommu/group.rs`.
//!
//! C header: [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use crate::{
    iova::IovaRange,
    kapi::{
        driver_ctx::DriverCtx,
        sw_msi::GroupDoorbells, //
    },
    sys, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    container_of,
    device::Device,
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            ordering::{
                Full,
                Relaxed, //
            },
            Atomic, //
        },
        Arc,
        Mutex,
        MutexGuard, //
    },
    warn_on, //
};

/// Whether the administrator accepts devices whose interrupts no hardware isolates. That may
/// change at any time.
pub(crate) fn unsafe_interrupts_are_allowed() -> bool {
    // SAFETY: Has no preconditions.
    unsafe { sys::iommufd_unsafe_interrupts_are_allowed() }
}

/// Devices that an IOMMU cannot tell apart, or that can reach each other behind its back.
///
/// # Invariants
///
/// This holds a reference on the group.
pub(crate) struct IommuGroup(NonNull<bindings::iommu_group>);

// SAFETY: A reference on a group belongs to no thread.
unsafe impl Send for IommuGroup {}
// SAFETY: The core serialises what is done to a group.
unsafe impl Sync for IommuGroup {}

impl IommuGroup {
    fn of(dev: &Device) -> Option<Self> {
        // SAFETY: `dev` is a device; the function returns a reference that we own, or NULL.
        let group = unsafe { bindings::iommu_group_get(raw_device(dev)) };
        // INVARIANT: The reference just taken.
        NonNull::new(group).map(Self)
    }

    /// Whether this is the group at `ptr`.
    pub(crate) fn is(&self, ptr: *const bindings::iommu_group) -> bool {
        core::ptr::eq(self.0.as_ptr(), ptr)
    }

    /// Whether the two are the same group.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// The number that sysfs knows the group by.
    pub(crate) fn id(&self) -> i32 {
        // SAFETY: By the type invariant.
        unsafe { bindings::iommu_group_id(self.0.as_ptr()) }
    }

    fn has_isolated_msi(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::iommu_group_has_isolated_msi(self.0.as_ptr()) }
    }
}

impl Drop for IommuGroup {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::iommu_group_put(self.0.as_ptr()) }
    }
}

/// A group whose devices get owners one by one; or a device that no IOMMU translates for, which is
/// in none.
///
/// What is attached in it is attached on behalf of all of these: the last one that goes while
/// something is attached keeps its claim for good.
#[pin_data]
pub(crate) struct OwnedGroup {
    group: Option<IommuGroup>,
    /// The device of each [`OwnedDevice`] that there is.
    #[pin]
    devices: Mutex<KVec<ARef<Device>>>,
    /// How many [`Attachment`](super::attachment::Attachment)s there are.
    attachments: Atomic<usize>,
    doorbells: GroupDoorbells,
}

/// The devices of a group that have owners, which they keep as long as this lives.
pub(super) struct OwnedDevices<'a>(MutexGuard<'a, KVec<ARef<Device>>>);

impl OwnedDevices<'_> {
    /// One of them, for what is done to the group by way of any.
    pub(super) fn any(&self) -> Option<*mut bindings::device> {
        self.0.first().map(|dev| raw_device(dev))
    }

    /// Whether one of them shares its page requests with others (PCI's PRI of a physical function
    /// and its virtual ones).
    pub(super) fn share_page_requests(&self) -> bool {
        self.0.iter().any(|dev| {
            // SAFETY: It is bound to a driver, for it has an owner, and so it is there.
            unsafe { sys::iommufd_shares_page_requests(raw_device(dev)) }
        })
    }
}

impl OwnedGroup {
    /// A group of which nobody owns a device yet, or what is to be had for a device without one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(group: Option<IommuGroup>, ctx: Arc<DriverCtx>) -> Result<Arc<Self>> {
        let doorbells = GroupDoorbells::new(ctx)?;
        Arc::pin_init(
            pin_init!(Self {
                group,
                devices <- new_mutex!(KVec::new(), "iommufd_owned_devices"),
                attachments: Atomic::new(0),
                doorbells,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The group itself, if an IOMMU has its devices.
    pub(crate) fn iommu_group(&self) -> Option<&IommuGroup> {
        self.group.as_ref()
    }

    pub(super) fn as_raw(&self) -> Option<*mut bindings::iommu_group> {
        self.group.as_ref().map(|group| group.0.as_ptr())
    }

    /// Where its devices find the doorbells of their interrupts.
    pub(super) fn doorbells(&self) -> &GroupDoorbells {
        &self.doorbells
    }

    /// Its devices that have owners.
    pub(super) fn devices(&self) -> OwnedDevices<'_> {
        OwnedDevices(self.devices.lock())
    }

    /// Notes that the group was put on a domain of ours.
    pub(super) fn count_attachment(&self) {
        self.attachments.fetch_add(1, Full);
    }

    /// Undoes [`Self::count_attachment`], when the group is off that domain.
    pub(super) fn forget_attachment(&self) {
        self.attachments.fetch_sub(1, Full);
    }
}

fn raw_device(dev: &Device) -> *mut bindings::device {
    // CAST: `Device` is a transparent wrapper of `struct device`.
    core::ptr::from_ref(dev).cast_mut().cast()
}

/// Whether devices are bound that no IOMMU keeps from any memory, as VFIO can ask for. It does so
/// for who may do raw I/O, if its parameter `enable_unsafe_noiommu_mode` is set.
pub(crate) const TAKES_UNTRANSLATED: bool = cfg!(IOMMUFD_NOIOMMU);

/// A device bound to a driver, whose group we may claim.
pub(crate) struct BoundDevice<'a> {
    dev: &'a Device,
    /// Its group; nothing if no IOMMU has it.
    group: Option<IommuGroup>,
}

impl<'a> BoundDevice<'a> {
    /// # Safety
    ///
    /// `dev` is a device that the caller's driver is bound to, and stays bound to until the
    /// [`OwnedDevice`] made of this is dropped.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the device is in no IOMMU group.
    pub(crate) unsafe fn new(dev: *mut bindings::device) -> Result<Self> {
        // SAFETY: By the contract of this function.
        let dev: &'a Device = unsafe { Device::from_raw(dev) };
        Ok(Self {
            dev,
            group: Some(IommuGroup::of(dev).ok_or(ENODEV)?),
        })
    }

    /// As [`Self::new`], also for a device that no IOMMU has, where these are taken.
    ///
    /// # Safety
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) unsafe fn maybe_untranslated(dev: *mut bindings::device) -> Result<Self> {
        // SAFETY: By the contract.
        if TAKES_UNTRANSLATED && !unsafe { sys::iommufd_is_behind_iommu(dev) } {
            // SAFETY: By the contract.
            let dev = unsafe { Device::from_raw(dev) };
            return Ok(Self { dev, group: None });
        }
        // SAFETY: By the contract.
        unsafe { Self::new(dev) }
    }

    /// The name of the device, such as its PCI address.
    pub(crate) fn name(&self) -> &'a CStr {
        self.dev.name()
    }

    /// The device itself.
    pub(crate) fn device(&self) -> DeviceRef {
        DeviceRef(ARef::from(self.dev))
    }

    /// The device's group, if an IOMMU has it.
    pub(crate) fn group(&self) -> Option<&IommuGroup> {
        self.group.as_ref()
    }

    /// A reference on the group, if an IOMMU has the device.
    ///
    /// # Errors
    ///
    /// `ENODEV`: the device has left it.
    pub(crate) fn group_ref(&self) -> Result<Option<IommuGroup>> {
        if self.group.is_none() {
            return Ok(None);
        }
        IommuGroup::of(self.dev).map(Some).ok_or(ENODEV)
    }

    /// Whether this is `dev`.
    pub(crate) fn is(&self, dev: &OwnedDevice) -> bool {
        core::ptr::eq(raw_device(self.dev), dev.as_raw())
    }

    /// Takes the group's DMA away from everyone but `owner`; DMA is blocked from here on.
    ///
    /// `msi_may_leak` accepts devices that could send forged interrupts. Of a device that no IOMMU
    /// has, nothing can be taken away or blocked.
    ///
    /// # Errors
    ///
    /// * `EINVAL`: the device's DMA does not snoop the CPU's caches, its firmware demands an
    ///   identity mapping, or it is in another group than `group`.
    /// * `EPERM`: interrupts are not remapped, or the group belongs to another owner, or a
    ///   device in it to a driver that does DMA of its own.
    /// * `EBUSY`: something else uses the group. `ENOMEM`.
    pub(crate) fn claim<T>(
        self,
        group: &Arc<OwnedGroup>,
        owner: &Arc<T>,
        msi_may_leak: bool,
    ) -> Result<OwnedDevice> {
        match (&self.group, &group.group) {
            (None, None) => {}
            (Some(own), Some(group)) if own.same(group) => self.check(own, msi_may_leak)?,
            _ => return Err(EINVAL),
        }
        let mut devices = group.devices.lock();
        devices.reserve(1, GFP_KERNEL_ACCOUNT)?;
        if self.group.is_some() {
            let token: *const T = &**owner;
            // SAFETY: The device is bound to a driver, which does not let go of it before we
            // release the group. The owner is only ever compared.
            to_result(unsafe {
                bindings::iommu_device_claim_dma_owner(
                    raw_device(self.dev),
                    token.cast_mut().cast::<c_void>(),
                )
            })?;
        }
        warn_on!(devices.push_within_capacity(self.dev.into()).is_err());
        // INVARIANT: Just claimed, if it has a group, and listed.
        Ok(OwnedDevice {
            dev: ARef::from(self.dev),
            group: group.clone(),
        })
    }

    /// Whether a device of an IOMMU can be given away.
    fn check(&self, group: &IommuGroup, msi_may_leak: bool) -> Result {
        if !capable(self.dev, bindings::iommu_cap_IOMMU_CAP_CACHE_COHERENCY) {
            return Err(EINVAL);
        }
        if !group.has_isolated_msi() && !msi_may_leak {
            return Err(EPERM);
        }
        Ok(())
    }
}

fn capable(dev: &Device, cap: bindings::iommu_cap) -> bool {
    // SAFETY: `dev` is a device.
    unsafe { bindings::device_iommu_capable(raw_device(dev), cap) }
}

/// A reference to a device: what it is, whoever owns it.
#[derive(Clone)]
pub(crate) struct DeviceRef(ARef<Device>);

#[cfg(IOMMUFD_MOCK)]
impl From<&Device> for DeviceRef {
    fn from(dev: &Device) -> Self {
        Self(dev.into())
    }
}

impl DeviceRef {
    /// The name of the device, such as its PCI address.
    pub(crate) fn name(&self) -> &CStr {
        self.0.name()
    }

    /// Whether the two are the same device.
    pub(crate) fn same(&self, other: &Self) -> bool {
        core::ptr::eq(&*self.0, &*other.0)
    }
}

/// A device whose group's DMA we own, or that no IOMMU has.
///
/// # Invariants
///
/// `group` lists this value, and a driver is bound to the device. If it has a group, then an IOMMU
/// has the device, and the DMA ownership of the group is claimed once for this value.
pub(crate) struct OwnedDevice {
    dev: ARef<Device>,
    group: Arc<OwnedGroup>,
}

/// A region that a device uses, or an IOMMU treats, in a way of its own.
pub(crate) enum Reserved {
    /// Not to be mapped.
    Range(IovaRange),
    /// Not to be mapped, and where the core may put the doorbells of interrupts.
    SoftwareMsi(IovaRange),
    /// Not to be mapped: the doorbells of interrupts are here in hardware.
    Msi(IovaRange),
}

impl OwnedDevice {
    pub(super) fn as_raw(&self) -> *mut bindings::device {
        raw_device(&self.dev)
    }

    /// The device itself, for the IOMMU that it is behind.
    #[cfg(IOMMUFD_MOCK)]
    pub(crate) fn as_ptr(&self) -> *mut bindings::device {
        self.as_raw()
    }

    /// The device itself.
    pub(crate) fn device(&self) -> DeviceRef {
        DeviceRef(self.dev.clone())
    }

    /// A reference on the device.
    pub(super) fn aref(&self) -> ARef<Device> {
        self.dev.clone()
    }

    /// The device's group.
    pub(super) fn group(&self) -> &Arc<OwnedGroup> {
        &self.group
    }

    /// Whether an IOMMU translates for the device.
    pub(crate) fn is_translated(&self) -> bool {
        self.group.group.is_some()
    }

    /// Whether the device's IOMMU can make all its DMA snoop.
    pub(crate) fn can_enforce_snoop(&self) -> bool {
        capable(
            &self.dev,
            bindings::iommu_cap_IOMMU_CAP_ENFORCE_CACHE_COHERENCY,
        )
    }

    /// Whether the device may send message-signalled interrupts.
    pub(crate) fn has_interrupts(&self) -> bool {
        // SAFETY: The device is bound to a driver, and so it is there.
        unsafe { sys::iommufd_has_interrupts(self.as_raw()) }
    }

    /// Whether whoever makes domains for the device wants to be asked about flags.
    pub(crate) fn has_domain_flags(&self) -> bool {
        // SAFETY: An IOMMU has the device, as long as it is owned.
        !self.is_translated() || unsafe { sys::iommufd_has_domain_flags(self.as_raw()) }
    }

    /// Whether the device's IOMMU knows domains inside of domains.
    pub(crate) fn can_nest(&self) -> bool {
        // SAFETY: An IOMMU has the device, as long as it is owned.
        self.is_translated() && unsafe { sys::iommufd_can_nest(self.as_raw()) }
    }

    /// Whether the device's IOMMU can mark the pages that are written to.
    pub(super) fn has_dirty_bits(&self) -> bool {
        capable(&self.dev, bindings::iommu_cap_IOMMU_CAP_DIRTY_TRACKING)
    }

    /// Whether the device may keep translations of its own (PCI's ATS).
    pub(crate) fn can_cache_translations(&self) -> bool {
        capable(&self.dev, bindings::iommu_cap_IOMMU_CAP_PCI_ATS_SUPPORTED)
    }

    /// The regions that the device's space must leave out.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn reserved_regions(&self) -> Result<KVec<Reserved>> {
        if !self.is_translated() {
            return Ok(KVec::new());
        }
        let mut head = bindings::list_head::default();
        let head = &raw mut head;
        // SAFETY: `head` is a local variable; an empty list points to itself.
        unsafe { bindings::INIT_LIST_HEAD(head) };
        // SAFETY: An IOMMU has the device, and the list is initialised.
        unsafe { bindings::iommu_get_resv_regions(self.as_raw(), head) };
        // SAFETY: The list holds what the call above put there.
        let regions = unsafe { collect_regions(head) };
        // SAFETY: Device and list are those of the call above.
        unsafe { bindings::iommu_put_resv_regions(self.as_raw(), head) };
        regions
    }
}

impl Drop for OwnedDevice {
    fn drop(&mut self) {
        let mut devices = self.group.devices.lock();
        devices.retain(|dev| !core::ptr::eq(&**dev, &*self.dev));
        if warn_on!(devices.is_empty() && self.group.attachments.load(Relaxed) > 0) {
            // What is attached goes on being ours.
            return;
        }
        if self.is_translated() {
            // SAFETY: By the type invariant.
            unsafe { bindings::iommu_device_release_dma_owner(self.as_raw()) }
        }
    }
}

impl Reserved {
    /// Regions that the driver may drop when asked to (`DIRECT_RELAXABLE`) do not count.
    fn from_raw(region: &bindings::iommu_resv_region) -> Option<Self> {
        let range = IovaRange::with_len(region.start, region.length as u64).ok()?;
        match region.type_ {
            bindings::iommu_resv_type_IOMMU_RESV_DIRECT_RELAXABLE => None,
            bindings::iommu_resv_type_IOMMU_RESV_SW_MSI => Some(Self::SoftwareMsi(range)),
            bindings::iommu_resv_type_IOMMU_RESV_MSI => Some(Self::Msi(range)),
            _ => Some(Self::Range(range)),
        }
    }

    /// The addresses that it takes.
    pub(crate) fn range(&self) -> IovaRange {
        match self {
            Self::Range(range) | Self::SoftwareMsi(range) | Self::Msi(range) => *range,
        }
    }
}

/// Copies a list of regions.
///
/// # Safety
///
/// `head` is an initialised list of `struct iommu_resv_region`.
unsafe fn collect_regions(head: *const bindings::list_head) -> Result<KVec<Reserved>> {
    let mut regions = KVec::new();
    // SAFETY: `head` is valid by the contract.
    let mut node = unsafe { (*head).next };
    while !core::ptr::eq(node, head) {
        // SAFETY: Each node but the head is part of a region.
        let region = unsafe { &*container_of!(node, bindings::iommu_resv_region, list) };
        if let Some(region) = Reserved::from_raw(region) {
            regions.push(region, GFP_KERNEL_ACCOUNT)?;
        }
        node = region.list.next;
    }
    Ok(regions)
}
