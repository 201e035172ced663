// SPDX-License-Identifier: GPL-2.0

//! The attributes of the kernel crate that the driver uses.

use proc_macro::{
    Delimiter,
    Group,
    TokenStream,
    TokenTree, //
};

/// Tables of cases are tests of cargo's.
#[proc_macro_attribute]
pub fn kunit_tests(_name: TokenStream, module: TokenStream) -> TokenStream {
    let mut test: TokenStream = "#[cfg(test)]".parse().unwrap_or_default();
    test.extend(module);
    test
}

/// Nothing is pinned in userspace, where locks may move: the marks of pinned fields are taken off.
#[proc_macro_attribute]
pub fn pin_data(_options: TokenStream, item: TokenStream) -> TokenStream {
    let fields = |token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            TokenTree::Group(Group::new(Delimiter::Brace, without_marks(group.stream())))
        }
        other => other,
    };
    item.into_iter().map(fields).collect()
}

fn without_marks(fields: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in fields {
        let is_mark = matches!(&token, TokenTree::Group(group)
            if group.delimiter() == Delimiter::Bracket && group.stream().to_string() == "pin");
        if is_mark {
            // The `#` before it.
            kept.pop();
        } else {
            kept.push(token);
        }
    }
    kept.into_iter().collect()
}
