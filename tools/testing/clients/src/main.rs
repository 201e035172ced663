// SPDX-License-Identifier: GPL-2.0

//! What VMMs in Rust do with /dev/iommu, on the crates that they do it with: `iommufd-ioctls` and
//! `vfio-ioctls`, as published. Each result is proved by DMA of QEMU's edu device, and printed as
//! KTAP.

use iommufd_bindings::*;
use iommufd_ioctls::{IommuFd, IommufdIoas};
use std::{
    error::Error,
    fs::{self, File},
    mem::size_of,
    os::fd::{AsRawFd, FromRawFd, RawFd},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread::sleep,
    time::Duration,
};
use vfio_ioctls::{VfioDevice, VfioIommufd, VfioOps, VfioRegionDmaRange};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const PAGE: usize = 4096;
const IOVA: u64 = 0x1000_0000;

/// Where things are in edu's BAR 0, and where its buffer is for its DMA engine.
const LIVENESS: u64 = 0x04;
const DMA_SOURCE: u64 = 0x80;
const DMA_TARGET: u64 = 0x88;
const DMA_COUNT: u64 = 0x90;
const DMA_COMMAND: u64 = 0x98;
const BUFFER: u64 = 0x40000;

/// Memory that devices may write to: only ever looked at through raw pointers.
struct Memory {
    start: *mut u8,
    size: usize,
}

impl Memory {
    fn new(size: usize) -> Result<Self> {
        Self::map(size, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    fn of_file(file: &File, size: usize) -> Result<Self> {
        Self::map(size, libc::MAP_SHARED, file.as_raw_fd())
    }

    /// BAR 0 of a device.
    fn of_bar(device: &VfioDevice, size: usize) -> Result<Self> {
        Self::map(size, libc::MAP_SHARED, device.as_raw_fd())
    }

    fn map(size: usize, flags: i32, fd: RawFd) -> Result<Self> {
        // SAFETY: A new mapping, where nothing is.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(Self {
            start: start.cast(),
            size,
        })
    }

    fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.size);
        // SAFETY: Inside of the mapping, as was just checked.
        unsafe { self.start.add(offset) }
    }

    fn fill(&self, offset: usize, count: usize, first: u8) {
        for index in 0..count {
            // SAFETY: `at` checks the address.
            unsafe {
                self.at(offset + index)
                    .write_volatile(first.wrapping_add(index as u8))
            };
        }
    }

    fn is(&self, offset: usize, count: usize, first: u8) -> bool {
        // SAFETY: `at` checks the address.
        (0..count).all(|index| unsafe {
            self.at(offset + index).read_volatile() == first.wrapping_add(index as u8)
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: The mapping made by `new`, which nobody uses any more.
        unsafe { libc::munmap(self.start.cast(), self.size) };
    }
}

/// A file in memory.
fn memfd(size: usize) -> Result<File> {
    // SAFETY: The name ends with a zero.
    let fd = unsafe { libc::memfd_create(c"client".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: It was just made, and is nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(size as u64)?;
    Ok(file)
}

/// The sysfs folders of the edu devices that are bound to vfio-pci.
fn find_edus() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/bus/pci/drivers/vfio-pci")? {
        let path = entry?.path();
        if fs::read_to_string(path.join("device")).is_ok_and(|id| id.trim() == "0x11e8") {
            found.push(fs::canonicalize(path)?);
        }
    }
    Ok(found)
}

/// Edu device number `number`, in the address space of `vfio` if `attached`.
fn edu(vfio: &Arc<VfioIommufd>, number: usize, attached: bool) -> Result<VfioDevice> {
    let edus = find_edus()?;
    let path = edus.get(number).ok_or("there are too few edu devices")?;
    let edu = VfioDevice::new(path, vfio.clone() as Arc<dyn VfioOps>, attached)?;
    enable(&edu);
    Ok(edu)
}

fn dma(edu: &VfioDevice, source: u64, target: u64, count: u64, to_memory: bool) -> Result {
    let write = |register, value: u64| edu.region_write(0, &value.to_le_bytes(), register);
    write(DMA_SOURCE, source);
    write(DMA_TARGET, target);
    write(DMA_COUNT, count);
    write(DMA_COMMAND, 1 | u64::from(to_memory) << 1);
    for _ in 0..1000 {
        let mut command = [0; 8];
        edu.region_read(0, &mut command, DMA_COMMAND);
        if u64::from_le_bytes(command) & 1 == 0 {
            return Ok(());
        }
        sleep(Duration::from_millis(5));
    }
    Err("the device does not finish".into())
}

/// Whether the device can take 256 bytes from the first page of `memory` to the second.
fn carries(edu: &VfioDevice, memory: &Memory, iova: u64, first: u8) -> Result<bool> {
    memory.fill(0, 256, first);
    memory.fill(PAGE, 256, first.wrapping_add(1));
    dma(edu, iova, BUFFER, 256, false)?;
    dma(edu, BUFFER, iova + PAGE as u64, 256, true)?;
    Ok(memory.is(PAGE, 256, first))
}

/// Lets the device do DMA: the command register is in the configuration space, region 7.
fn enable(edu: &VfioDevice) {
    enable_memory(edu, true);
}

/// Has it answer at its BARs, or not.
fn enable_memory(edu: &VfioDevice, on: bool) {
    let mut command = [0; 2];
    edu.region_read(7, &mut command, 4);
    let command = u16::from_le_bytes(command) & !2 | 4 | u16::from(on) << 1;
    edu.region_write(7, &command.to_le_bytes(), 4);
}

fn expect(what: &str, holds: bool) -> Result {
    if holds {
        Ok(())
    } else {
        Err(format!("not so: {what}").into())
    }
}

/// The calls of iommufd-ioctls one by one, without a device.
fn address_space() -> Result {
    let iommufd = IommuFd::new()?;
    let mut alloc = iommu_ioas_alloc {
        size: size_of::<iommu_ioas_alloc>() as u32,
        ..Default::default()
    };
    iommufd.alloc_iommu_ioas(&mut alloc)?;
    let memory = Memory::new(2 * PAGE)?;
    let map = iommu_ioas_map {
        size: size_of::<iommu_ioas_map>() as u32,
        flags: 7,
        ioas_id: alloc.out_ioas_id,
        user_va: memory.at(0) as u64,
        length: 2 * PAGE as u64,
        iova: IOVA,
        ..Default::default()
    };
    iommufd.map_iommu_ioas(&map)?;
    expect(
        "a range is taken once",
        iommufd.map_iommu_ioas(&map).is_err(),
    )?;
    let mut unmap = iommu_ioas_unmap {
        size: size_of::<iommu_ioas_unmap>() as u32,
        ioas_id: alloc.out_ioas_id,
        iova: IOVA,
        length: 2 * PAGE as u64,
    };
    iommufd.unmap_iommu_ioas(&mut unmap)?;
    expect("all was unmapped", unmap.length == 2 * PAGE as u64)?;
    iommufd.destroy_iommu_object(alloc.out_ioas_id)?;
    expect(
        "what was destroyed is gone",
        iommufd.destroy_iommu_object(alloc.out_ioas_id).is_err(),
    )
}

/// What a VMM does with a device, by way of vfio-ioctls.
fn device() -> Result {
    let vfio = Arc::new(VfioIommufd::new(Arc::new(IommuFd::new()?), None, None)?);
    let memory = Memory::new(16 * PAGE)?;
    let edu = edu(&vfio, 0, true)?;
    // SAFETY: The memory is only looked at through raw pointers.
    unsafe { VfioOps::vfio_dma_map(&*vfio, IOVA, 16 * PAGE, memory.at(0)) }?;
    expect("DMA arrives", carries(&edu, &memory, IOVA, 7)?)?;
    expect(
        "a part cannot be unmapped",
        VfioOps::vfio_dma_unmap(&*vfio, IOVA, PAGE).is_err(),
    )?;
    expect("DMA arrives still", carries(&edu, &memory, IOVA, 77)?)?;
    VfioOps::vfio_dma_unmap(&*vfio, IOVA, 16 * PAGE)?;
    expect("DMA is blocked", !carries(&edu, &memory, IOVA, 177)?)
}

/// A guest whose memory is a file, on a domain that the VMM has made.
fn file_and_domain() -> Result {
    let iommufd = Arc::new(IommuFd::new()?);
    let ioas = Arc::new(IommufdIoas::new(iommufd.clone())?);
    let vfio = Arc::new(VfioIommufd::new(iommufd.clone(), Some(ioas.clone()), None)?);
    let file = memfd(16 * PAGE)?;
    let memory = Memory::of_file(&file, 16 * PAGE)?;
    ioas.map_file(file.as_raw_fd(), 0, 16 * PAGE as u64, IOVA, true)?;
    let edu = edu(&vfio, 0, false)?;
    expect("it is not attached", !carries(&edu, &memory, IOVA, 7)?)?;
    let mut hwpt = iommu_hwpt_alloc {
        size: size_of::<iommu_hwpt_alloc>() as u32,
        dev_id: edu.iommufd_dev_id().ok_or("it is not bound")?,
        pt_id: ioas.id(),
        ..Default::default()
    };
    iommufd.alloc_iommu_hwpt(&mut hwpt)?;
    edu.attach_hwpt(hwpt.out_hwpt_id)?;
    expect("DMA arrives", carries(&edu, &memory, IOVA, 77)?)?;
    ioas.unmap(IOVA, 16 * PAGE as u64)?;
    expect("DMA is blocked", !carries(&edu, &memory, IOVA, 177)?)?;
    edu.detach_hwpt()?;
    Ok(iommufd.destroy_iommu_object(hwpt.out_hwpt_id)?)
}

/// One device writes to a register of another, whose value is the opposite.
fn peers() -> Result {
    let vfio = Arc::new(VfioIommufd::new(Arc::new(IommuFd::new()?), None, None)?);
    let memory = Memory::new(PAGE)?;
    let (edu, other) = (edu(&vfio, 0, true)?, edu(&vfio, 1, true)?);
    let bar = VfioRegionDmaRange {
        offset: 0,
        length: PAGE as u64,
    };
    let flags = (libc::O_RDWR | libc::O_CLOEXEC) as u32;
    let exported = other.export_dma_buf(0, &[bar], flags)?;
    let exported = exported.ok_or("VFIO gives no BAR away")?;
    let at = IOVA + PAGE as u64;
    // SAFETY: The memory is only looked at through raw pointers.
    unsafe { VfioOps::vfio_dma_map(&*vfio, IOVA, PAGE, memory.at(0)) }?;
    vfio.ioas()
        .map_file(exported.as_raw_fd(), 0, PAGE as u64, at, true)?;
    expect("it arrives", reaches(&edu, &other, &memory, at, 0x12)?)
}

/// Whether a device can take four bytes from `memory` to a register of another, at `bar`.
fn reaches(
    edu: &VfioDevice,
    other: &VfioDevice,
    memory: &Memory,
    bar: u64,
    first: u8,
) -> Result<bool> {
    memory.fill(0, 4, first);
    dma(edu, IOVA, BUFFER, 4, false)?;
    dma(edu, BUFFER, bar + LIVENESS, 4, true)?;
    let mut value = [0; 4];
    other.region_read(0, &mut value, LIVENESS);
    Ok(value == [0, 1, 2, 3].map(|more| !(first + more)))
}

/// The same by the address of the BAR, which is refused unless the module lets it.
fn peers_by_address() -> Result {
    let parameter = "/sys/module/iommufd/parameters/map_device_memory";
    let vfio = Arc::new(VfioIommufd::new(Arc::new(IommuFd::new()?), None, None)?);
    let memory = Memory::new(PAGE)?;
    let (edu, other) = (edu(&vfio, 0, true)?, edu(&vfio, 1, true)?);
    let bar = Memory::of_bar(&other, PAGE)?;
    let at = IOVA + PAGE as u64;
    // SAFETY: The memory is only looked at through raw pointers.
    unsafe { VfioOps::vfio_dma_map(&*vfio, IOVA, PAGE, memory.at(0)) }?;
    // SAFETY: These are the registers of a device.
    let map = || unsafe { VfioOps::vfio_dma_map(&*vfio, at, PAGE, bar.at(0)) };
    expect("it is refused", map().is_err())?;
    fs::write(parameter, "1")?;
    let mapped = map();
    fs::write(parameter, "0")?;
    mapped?;
    expect("it arrives", reaches(&edu, &other, &memory, at, 0x22)?)?;
    enable_memory(&other, false);
    enable_memory(&other, true);
    expect(
        "it was taken back",
        !reaches(&edu, &other, &memory, at, 0x32)?,
    )?;
    VfioOps::vfio_dma_unmap(&*vfio, at, PAGE)?;
    expect("DMA is blocked", !reaches(&edu, &other, &memory, at, 0x42)?)
}

fn main() -> ExitCode {
    let tests: [(&str, fn() -> Result); 5] = [
        ("iommufd-ioctls", address_space),
        ("vfio-ioctls", device),
        ("memory in a file, a domain", file_and_domain),
        ("from device to device", peers),
        ("from device to device, by address", peers_by_address),
    ];
    let mut code = ExitCode::SUCCESS;
    println!("KTAP version 1\n1..{}", tests.len());
    for (number, (name, test)) in (1..).zip(tests) {
        match test() {
            Ok(()) => println!("ok {number} {name}"),
            Err(error) => {
                println!("# {error}\nnot ok {number} {name}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
