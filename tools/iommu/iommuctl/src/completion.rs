// SPDX-License-Identifier: GPL-2.0

//! `iommuctl completion`: what a shell needs to complete commands, and what they can be given.

use crate::{
    contexts::Contexts,
    output,
    system::PciDevice, //
};
use anyhow::Result;
use clap_complete::Shell;

/// For bash, what the crate cannot do.
const BASH: &str = include_str!("completion.bash");

/// Arguments of `completion`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell to print it for.
    #[arg(required_unless_present = "values")]
    shell: Option<Shell>,
    /// Print what can be given to commands at this moment, for the script to call.
    #[arg(long, hide = true, conflicts_with = "shell")]
    values: Option<Values>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Values {
    Addresses,
    Contexts,
}

fn values(of: Values) -> Result<Vec<String>> {
    Ok(match of {
        Values::Addresses => PciDevice::all()
            .into_iter()
            .filter(|device| !device.is_bridge())
            .map(|device| device.address)
            .collect(),
        Values::Contexts => Contexts::read()?
            .contexts
            .into_iter()
            .map(|context| context.context)
            .collect(),
    })
}

/// `iommuctl completion`
pub(crate) fn run(args: &Args, mut command: clap::Command) -> Result<()> {
    if let Some(of) = args.values {
        return output::text(&values(of)?.join("\n"));
    }
    let Some(shell) = args.shell else {
        return Ok(());
    };
    // The crate takes no error in writing: it writes to memory, where there is none.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "iommuctl", &mut script);
    output::text(&String::from_utf8(script)?)?;
    if shell == Shell::Bash {
        output::text(BASH)?;
    }
    Ok(())
}
