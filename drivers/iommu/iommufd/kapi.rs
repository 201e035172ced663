// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers over the kernel's C interfaces.
//!
//! This module, [`crate::space::mapped`] and [`crate::exports`] are the only places where `unsafe`
//! is allowed. Each file here is written as what the kernel crate could offer itself, and its head
//! names the file that it would become there.

pub(crate) mod access_ops;
pub(crate) mod account;
pub(crate) mod attach_handle;
pub(crate) mod attachment;
pub(crate) mod bar;
pub(crate) mod device;
pub(crate) mod device_memory;
pub(crate) mod dirty;
pub(crate) mod dmabuf;
pub(crate) mod domain;
pub(crate) mod driver_ctx;
pub(crate) mod event_file;
pub(crate) mod fault;
pub(crate) mod fault_queue;
pub(crate) mod hw_info;
pub(crate) mod hw_queue;
pub(crate) mod ids;
pub(crate) mod iova_bitmap;
pub(crate) mod memfd;
pub(crate) mod msi;
pub(crate) mod nested;
pub(crate) mod node;
pub(crate) mod params;
pub(crate) mod pin;
pub(crate) mod run;
pub(crate) mod rwsem;
pub(crate) mod spans;
pub(crate) mod sw_msi;
mod table;
pub(crate) mod task;
pub(crate) mod trace;
pub(crate) mod user;
pub(crate) mod user_data;
pub(crate) mod users;
pub(crate) mod vdevice;
pub(crate) mod veventq;
pub(crate) mod viommu;
pub(crate) mod worker;
