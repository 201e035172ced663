// SPDX-License-Identifier: GPL-2.0

//! `iommuctl map`: a picture of an address space.

use crate::{
    contexts::{
        Context,
        Contexts,
        NO_AREAS, //
    },
    output,
    parse::Space,
    picture, size, system,
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use serde::Serialize;

/// Arguments of `map`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The context, by its name in 'iommuctl list'; may be left out if there is but one.
    #[arg(long)]
    context: Option<String>,
    /// Print a picture in SVG, which a browser shows.
    #[arg(long)]
    svg: bool,
    /// The address space; may be left out if the context has but one.
    ioasid: Option<u32>,
}

/// What a range of addresses is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Mapped,
    Free,
    Reserved,
}

/// A range of addresses that are alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Piece {
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) first: u64,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) last: u64,
    pub(crate) state: State,
    /// The access of what is mapped, the kind of what is reserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// How many mappings it is made of.
    pub(crate) area_count: u64,
}

impl Piece {
    pub(crate) fn bytes(&self) -> u128 {
        u128::from(self.last - self.first) + 1
    }
}

#[derive(Serialize)]
pub(crate) struct Picture {
    pub(crate) context: String,
    pub(crate) ioasid: u32,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) first: u64,
    #[serde(serialize_with = "size::as_hex")]
    pub(crate) last: u64,
    pub(crate) no_device: bool,
    /// What that means, in words.
    #[serde(skip)]
    pub(crate) note: Option<String>,
    pub(crate) pieces: Vec<Piece>,
}

impl Picture {
    pub(crate) fn title(&self) -> String {
        let name = format!("Context {}, IOASID {}", self.context, self.ioasid);
        match &self.note {
            Some(note) => format!("{name} ({note})"),
            None => name,
        }
    }
}

/// The part of a piece that lies in a window.
fn clip(mut piece: Piece, space: &Space) -> Option<Piece> {
    piece.first = piece.first.max(space.first);
    piece.last = piece.last.min(space.last);
    (piece.first <= piece.last).then_some(piece)
}

/// What is mapped, neighbours of the same access as one.
fn mapped(space: &Space) -> Result<Vec<Piece>> {
    let areas = space.areas.as_ref().context(NO_AREAS)?;
    let mut pieces: Vec<Piece> = Vec::new();
    for area in areas {
        if let Some(last) = pieces.last_mut() {
            if last.last.checked_add(1) == Some(area.first)
                && last.detail.as_ref() == Some(&area.access)
            {
                last.last = area.last;
                last.area_count += 1;
                continue;
            }
        }
        pieces.push(Piece {
            first: area.first,
            last: area.last,
            state: State::Mapped,
            detail: Some(area.access.clone()),
            area_count: 1,
        });
    }
    Ok(pieces)
}

/// What the attached devices have reserved. What is relaxable can be mapped all the same.
fn reserved(context: &Context, space: &Space) -> Vec<Piece> {
    let mut groups: Vec<_> = context
        .attached(space.ioasid)
        .filter_map(|device| device.group)
        .collect();
    groups.sort();
    groups.dedup();
    groups
        .into_iter()
        .flat_map(system::reserved_regions)
        .filter(|region| region.kind != "direct-relaxable")
        .filter_map(|region| {
            let piece = Piece {
                first: region.first,
                last: region.last,
                state: State::Reserved,
                detail: Some(region.kind),
                area_count: 0,
            };
            clip(piece, space)
        })
        .collect()
}

fn free(first: u64, last: u64) -> Piece {
    Piece {
        first,
        last,
        state: State::Free,
        detail: None,
        area_count: 0,
    }
}

/// The whole window in pieces, in order and without gaps or overlaps.
fn pieces(space: &Space, mut taken: Vec<Piece>) -> Vec<Piece> {
    taken.sort_by_key(|piece| piece.first);
    let mut all = Vec::new();
    let mut next = Some(space.first);
    for mut piece in taken {
        let Some(at) = next else { break };
        if piece.last < at {
            // The same region may be reserved by several groups.
            continue;
        }
        piece.first = piece.first.max(at);
        if at < piece.first {
            all.push(free(at, piece.first - 1));
        }
        next = piece.last.checked_add(1);
        all.push(piece);
    }
    if let Some(at) = next.filter(|at| *at <= space.last) {
        all.push(free(at, space.last));
    }
    all
}

/// A bar that grows by a mark whenever the size doubles, so that pages and terabytes both show.
fn bar(piece: &Piece) -> String {
    let mark = match piece.state {
        State::Mapped => "#",
        State::Free => ".",
        State::Reserved => "x",
    };
    let doublings = 128 - piece.bytes().leading_zeros();
    mark.repeat(usize::try_from(doublings.saturating_sub(12)).unwrap_or(0))
}

fn draw(picture: &Picture) -> String {
    let mut table = output::table(&["FIRST", "LAST", ">SIZE", "STATE", "", ">AREAS", ""]);
    for piece in &picture.pieces {
        table.add_row([
            format!("{:#018x}", piece.first),
            format!("{:#018x}", piece.last),
            size::human(piece.bytes()),
            format!("{:?}", piece.state).to_lowercase(),
            piece.detail.clone().unwrap_or_default(),
            match piece.area_count {
                0 => String::new(),
                count => count.to_string(),
            },
            bar(piece),
        ]);
    }
    format!(
        "{}: each mark doubles the size (# mapped, . free, x reserved)\n{table}",
        picture.title()
    )
}

fn pick(context: &Context, ioasid: Option<u32>) -> Result<&Space> {
    match (ioasid, context.objects.spaces.as_slice()) {
        (Some(ioasid), spaces) => spaces
            .iter()
            .find(|space| space.ioasid == ioasid)
            .with_context(|| format!("context {} has no address space {ioasid}", context.context)),
        (None, [only]) => Ok(only),
        (None, []) => bail!("context {} has no address space", context.context),
        (None, _) => bail!(
            "context {} has several address spaces: name one",
            context.context
        ),
    }
}

/// `iommuctl map`
pub(crate) fn run(args: &Args, json: bool) -> Result<()> {
    if args.svg && json {
        bail!("a picture is no JSON: say either --svg or --json");
    }
    let found = Contexts::read()?;
    let context = found.pick(args.context.as_deref())?;
    let space = pick(context, args.ioasid)?;
    let mut taken = mapped(space)?;
    taken.extend(reserved(context, space));
    let picture = Picture {
        context: context.context.clone(),
        ioasid: space.ioasid,
        first: space.first,
        last: space.last,
        no_device: space.no_device,
        note: space.note(),
        pieces: pieces(space, taken),
    };
    if json {
        return output::json(&picture);
    }
    if args.svg {
        return output::text(&picture::draw(&picture));
    }
    output::text(&draw(&picture))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Area;

    fn space(first: u64, last: u64, areas: &[(u64, u64, &str)]) -> Space {
        Space {
            first,
            last,
            areas: Some(
                areas
                    .iter()
                    .map(|(first, last, access)| Area {
                        first: *first,
                        last: *last,
                        access: (*access).to_owned(),
                        runs: 1,
                    })
                    .collect(),
            ),
            ..Space::default()
        }
    }

    fn drawn(space: &Space, more: Vec<Piece>) -> Vec<(u64, u64, State)> {
        let mut taken = mapped(space).unwrap();
        taken.extend(more);
        pieces(space, taken)
            .into_iter()
            .map(|piece| (piece.first, piece.last, piece.state))
            .collect()
    }

    #[test]
    fn whole_space() {
        let empty = space(0, u64::MAX, &[]);
        assert_eq!(drawn(&empty, vec![]), [(0, u64::MAX, State::Free)]);
        let full = space(0, u64::MAX, &[(0, u64::MAX, "rw")]);
        assert_eq!(drawn(&full, vec![]), [(0, u64::MAX, State::Mapped)]);
    }

    #[test]
    fn neighbours_are_one_if_alike() {
        let space = space(0, 99, &[(10, 19, "rw"), (20, 29, "rw"), (30, 39, "r-")]);
        assert_eq!(
            drawn(&space, vec![]),
            [
                (0, 9, State::Free),
                (10, 29, State::Mapped),
                (30, 39, State::Mapped),
                (40, 99, State::Free)
            ]
        );
    }

    #[test]
    fn overlapping_reservations() {
        let reserved = |first, last| Piece {
            state: State::Reserved,
            ..free(first, last)
        };
        let space = space(0, 99, &[]);
        let more = vec![reserved(50, 59), reserved(50, 59), reserved(55, 69)];
        assert_eq!(
            drawn(&space, more),
            [
                (0, 49, State::Free),
                (50, 59, State::Reserved),
                (60, 69, State::Reserved),
                (70, 99, State::Free)
            ]
        );
    }
}
