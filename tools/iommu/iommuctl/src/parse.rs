// SPDX-License-Identifier: GPL-2.0

//! The lines by which the driver shows contexts, in debugfs and in fdinfo. What a later driver
//! adds, be it lines or words, is passed over.

use crate::size;
use serde::Serialize;

/// A mapping in an address space.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Area {
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) first: u64,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) last: u64,
    /// `r-`, `-w` or `rw`.
    pub(crate) access: String,
    /// In how many pieces its memory is; none if it is not pinned.
    pub(crate) runs: u64,
}

/// A map of much memory, or the pin of an area for the first device, that is under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct UnderWay {
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) first: u64,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) last: u64,
    /// How much of it is pinned by now.
    pub(crate) done_bytes: u64,
}

impl UnderWay {
    /// How far it is, in words.
    pub(crate) fn note(&self) -> String {
        let total = u128::from(self.last - self.first) + 1;
        format!(
            "mapping: {} of {} done ({} %)",
            size::human(self.done_bytes.into()),
            size::human(total),
            u128::from(self.done_bytes) * 100 / total
        )
    }
}

/// An I/O address space.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Space {
    pub(crate) ioasid: u32,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) first: u64,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) last: u64,
    pub(crate) enforce_snoop: bool,
    /// Something is mapped, and no device, nor a domain for one, is there that it is pinned for.
    pub(crate) no_device: bool,
    pub(crate) area_count: u64,
    pub(crate) mapped_bytes: u64,
    pub(crate) pinned_bytes: u64,
    pub(crate) charged_bytes: u64,
    /// Who mapped last, or took over, and so whose memory it is: none if that has ended.
    pub(crate) mapper: Option<u32>,
    /// What of much memory is under way.
    pub(crate) under_way: Vec<UnderWay>,
    /// Absent where the driver does not show them to whoever asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) areas: Option<Vec<Area>>,
}

impl Space {
    /// How much of it is going to be pinned, and charged, when a device comes.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        // A driver without DMA may have pinned some of it.
        let waiting = self.mapped_bytes.saturating_sub(self.pinned_bytes);
        if self.no_device {
            waiting
        } else {
            0
        }
    }

    /// That this is so, in words.
    pub(crate) fn note(&self) -> Option<String> {
        self.no_device.then(|| not_pinned(self.waiting_bytes()))
    }
}

/// Says of so many bytes that they wait for a device.
pub(crate) fn not_pinned(bytes: u64) -> String {
    format!("{} not pinned: no device", size::human(bytes.into()))
}

/// A bound device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Device {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// Its group; none if no IOMMU has it.
    pub(crate) group: Option<u32>,
    /// Where it is attached, if it is.
    pub(crate) ioasid: Option<u32>,
}

/// What is pinned and charged for a context; memory that several mappings have counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Held {
    pub(crate) pinned_bytes: u64,
    pub(crate) charged_bytes: u64,
}

/// What one context holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Objects {
    pub(crate) held: Held,
    pub(crate) spaces: Vec<Space>,
    pub(crate) devices: Vec<Device>,
}

/// A context as debugfs lists it.
#[derive(Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) number: u64,
    pub(crate) owner: u32,
    pub(crate) objects: Objects,
}

/// A number as the kernel prints it, hexadecimal behind `0x`.
pub(crate) fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

/// `first-last`, both hexadecimal.
fn range(text: &str) -> Option<(u64, u64)> {
    let hex = |text: &str| number(text).filter(|_| text.starts_with("0x"));
    let (first, last) = text.split_once('-')?;
    Some((hex(first)?, hex(last)?))
}

/// The number behind a word.
fn after(words: &[&str], name: &str) -> Option<u64> {
    let at = words.iter().position(|word| *word == name)?;
    words.get(at + 1)?.parse().ok()
}

fn space(words: &[&str], page: u64) -> Option<Space> {
    let window = words.iter().position(|word| *word == "window")?;
    let (first, last) = range(words.get(window + 1)?)?;
    Some(Space {
        ioasid: words.first()?.parse().ok()?,
        first,
        last,
        enforce_snoop: words.contains(&"enforce-snoop"),
        no_device: words.contains(&"no-device"),
        area_count: after(words, "areas")?,
        mapped_bytes: after(words, "mapped")? << 10,
        pinned_bytes: after(words, "pinned")? * page,
        charged_bytes: after(words, "charged")? << 10,
        mapper: None,
        under_way: Vec::new(),
        areas: None,
    })
}

fn held(words: &[&str], page: u64) -> Option<Held> {
    Some(Held {
        pinned_bytes: after(words, "pinned")? * page,
        charged_bytes: after(words, "charged")? << 10,
    })
}

fn device(words: &[&str]) -> Option<Device> {
    Some(Device {
        id: words.first()?.parse().ok()?,
        name: (*words.get(1)?).to_owned(),
        group: after(words, "group").and_then(|group| u32::try_from(group).ok()),
        ioasid: after(words, "ioasid").and_then(|id| u32::try_from(id).ok()),
    })
}

/// An address space, and a process; 0 stands for one that has ended.
fn mapper(words: &[&str]) -> Option<(u64, u32)> {
    let pid = u32::try_from(after(words, "process")?).ok()?;
    Some((after(words, "ioasid")?, pid)).filter(|_| pid != 0)
}

fn under_way(words: &[&str]) -> Option<(u64, UnderWay)> {
    let ioasid = after(words, "ioasid")?;
    let (first, last) = range(words.get(2)?)?;
    let done_bytes = after(words, "done")? << 10;
    Some((
        ioasid,
        UnderWay {
            first,
            last,
            done_bytes,
        },
    ))
}

fn area(words: &[&str]) -> Option<(u64, Area)> {
    let ioasid = after(words, "ioasid")?;
    let (first, last) = range(words.get(2)?)?;
    let access = (*words.get(3)?).to_owned();
    let runs = after(words, "runs")?;
    Some((
        ioasid,
        Area {
            first,
            last,
            access,
            runs,
        },
    ))
}

impl Objects {
    /// Takes in one line, if it is one about an object.
    fn add(&mut self, key: &str, words: &[&str], page: u64) {
        match key {
            "ioasid" => self.spaces.extend(space(words, page)),
            "device" => self.devices.extend(device(words)),
            "held" => self.held = held(words, page).unwrap_or_default(),
            "mapper" => {
                if let Some((ioasid, pid)) = mapper(words) {
                    if let Some(space) = self.space(ioasid) {
                        space.mapper = Some(pid);
                    }
                }
            }
            "under-way" => {
                if let Some((ioasid, under_way)) = under_way(words) {
                    if let Some(space) = self.space(ioasid) {
                        space.under_way.push(under_way);
                    }
                }
            }
            "area" => {
                if let Some((ioasid, area)) = area(words) {
                    if let Some(space) = self.space(ioasid) {
                        space.areas.get_or_insert_default().push(area);
                    }
                }
            }
            _ => {}
        }
    }

    fn space(&mut self, ioasid: u64) -> Option<&mut Space> {
        let mut spaces = self.spaces.iter_mut();
        spaces.find(|space| u64::from(space.ioasid) == ioasid)
    }
}

/// The number and the objects of one context, from the fdinfo of its file. A driver of another
/// make shows neither.
pub(crate) fn fdinfo(text: &str, page: u64) -> (Option<u64>, Objects) {
    let mut number = None;
    let mut objects = Objects::default();
    for (key, rest) in text.lines().filter_map(|line| line.split_once(':')) {
        match key {
            "context" => number = rest.trim().parse().ok(),
            _ => objects.add(key, &rest.split_whitespace().collect::<Vec<_>>(), page),
        }
    }
    (number, objects)
}

/// All contexts, from debugfs.
pub(crate) fn contexts(text: &str, page: u64) -> Vec<Listed> {
    let mut contexts: Vec<Listed> = Vec::new();
    for (key, rest) in text.lines().filter_map(|line| line.split_once(':')) {
        let words: Vec<_> = rest.split_whitespace().collect();
        if key == "context" {
            contexts.extend(listed(&words));
        } else if let Some(context) = contexts.last_mut() {
            context.objects.add(key, &words, page);
        }
    }
    for context in &mut contexts {
        for space in &mut context.objects.spaces {
            space.areas.get_or_insert_default();
        }
    }
    contexts
}

fn listed(words: &[&str]) -> Option<Listed> {
    Some(Listed {
        number: words.first()?.parse().ok()?,
        owner: u32::try_from(after(words, "by")?).ok()?,
        objects: Objects::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "context:\t7 opened by 196\n\
        device:\t1 0000:00:05.0 group 2 ioasid 2\n\
        device:\t4 0000:00:06.0 group 3 detached\n\
        device:\t5 0000:00:07.0 group none ioasid 3\n\
        ioasid:\t2 window 0x0-0xffffffffffffffff areas 2 mapped 8 kB pinned 2 pages charged 4 kB\n\
        mapper:\tioasid 2 process 197\n\
        under-way:\tioasid 2 0x100000000-0x13fffffff done 327680 kB\n\
        under-way:\tioasid 4 0x0-0xfff done 4 kB\n\
        ioasid:\t3 window 0x1000-0x1fff enforce-snoop areas 0 mapped 0 kB pinned 0 pages charged 0 kB\n\
        mapper:\tioasid 3 process 0\n\
        mapper:\tioasid 4 process 198\n\
        later:\t5 something new\n\
        held:\tpinned 1 pages charged 4 kB\n\
        area:\tioasid 2 0x1000-0x1fff r- runs 1\n\
        area:\tioasid 2 0xfffffffffffff000-0xffffffffffffffff rw runs 1 more\n\
        context:\t9 opened by 200\n";

    #[test]
    fn debugfs() {
        let contexts = contexts(TEXT, 4096);
        assert_eq!(contexts.len(), 2);
        assert_eq!((contexts[0].number, contexts[0].owner), (7, 196));
        let objects = &contexts[0].objects;
        assert_eq!(objects.devices[0].ioasid, Some(2));
        assert_eq!(objects.devices[1].ioasid, None);
        assert_eq!(objects.devices[1].name, "0000:00:06.0");
        assert_eq!(objects.devices[1].group, Some(3));
        assert_eq!(objects.devices[2].group, None);
        assert_eq!(objects.devices[2].ioasid, Some(3));
        assert_eq!(objects.spaces[0].last, u64::MAX);
        assert_eq!(objects.spaces[0].pinned_bytes, 8192);
        assert_eq!(objects.spaces[0].charged_bytes, 4096);
        assert!(!objects.spaces[0].enforce_snoop && objects.spaces[1].enforce_snoop);
        assert_eq!(objects.spaces[0].mapper, Some(197));
        assert_eq!(objects.spaces[1].mapper, None);
        let [under_way] = objects.spaces[0].under_way.as_slice() else {
            panic!("{:?}", objects.spaces[0]);
        };
        assert_eq!(
            (under_way.first, under_way.done_bytes),
            (4 << 30, 320 << 20)
        );
        assert_eq!(under_way.note(), "mapping: 320 MiB of 1 GiB done (31 %)");
        assert_eq!(objects.spaces[1].under_way, []);
        assert_eq!(objects.held.pinned_bytes, 4096);
        assert_eq!(objects.held.charged_bytes, 4096);
        let areas = objects.spaces[0].areas.as_ref().unwrap();
        assert_eq!(areas.len(), 2);
        assert_eq!(areas[1].last, u64::MAX);
        assert_eq!(areas[0].access, "r-");
        assert_eq!(objects.spaces[1].areas, Some(vec![]));
        assert_eq!(contexts[1].objects, Objects::default());
    }

    #[test]
    fn mapped_without_a_device() {
        let text = "ioasid:\t1 window 0x0-0xff areas 2 mapped 12 kB pinned 1 pages charged 4 kB \
                    no-device\n\
                    ioasid:\t2 window 0x0-0xff areas 2 mapped 12 kB pinned 1 pages charged 4 kB\n";
        let (_, objects) = fdinfo(text, 4096);
        let [waits, attached] = objects.spaces.as_slice() else {
            panic!("{:?}", objects.spaces);
        };
        assert!(waits.no_device && !attached.no_device);
        assert_eq!(waits.charged_bytes, 4096);
        assert_eq!(waits.waiting_bytes(), 8192);
        assert_eq!(waits.note().unwrap(), "8 KiB not pinned: no device");
        assert_eq!((attached.waiting_bytes(), attached.note()), (0, None));
    }

    #[test]
    fn fdinfo_has_no_areas() {
        let text = "pos:\t0\nflags:\t02\ncontext:\t7\nioasid:\t1 window 0x0-0xff areas 1 mapped 4 kB pinned 1 pages charged 0 kB\n";
        let (number, objects) = fdinfo(text, 4096);
        assert_eq!(number, Some(7));
        assert_eq!(objects.spaces.len(), 1);
        assert_eq!(objects.spaces[0].areas, None);
    }

    #[test]
    fn nonsense_is_passed_over() {
        for text in [
            "",
            "context:\tx",
            "ioasid:",
            "ioasid:\tx window 0-1",
            "held:\tpinned",
            "area:\tioasid 1 0x0-0xfff rw runs 1",
        ] {
            assert_eq!(fdinfo(text, 4096), (None, Objects::default()), "{text}");
        }
    }
}
