// SPDX-License-Identifier: GPL-2.0

//! What becomes of what.

use syn::{
    BinOp,
    GenericArgument,
    PathArguments,
    ReturnType,
    Type, //
};

/// What else a comparison, or an operation with numbers, could be.
pub(crate) fn instead(op: &BinOp) -> (&'static str, &'static [&'static str]) {
    match op {
        BinOp::Eq(_) => ("==", &["!="]),
        BinOp::Ne(_) => ("!=", &["=="]),
        BinOp::Lt(_) => ("<", &["==", ">", "<="]),
        BinOp::Gt(_) => (">", &["==", "<", ">="]),
        BinOp::Le(_) => ("<=", &[">", "<"]),
        BinOp::Ge(_) => (">=", &["<", ">"]),
        BinOp::Add(_) => ("+", &["-", "*"]),
        BinOp::Sub(_) => ("-", &["+", "/"]),
        BinOp::Mul(_) => ("*", &["+", "/"]),
        BinOp::Div(_) => ("/", &["%", "*"]),
        BinOp::Rem(_) => ("%", &["/", "+"]),
        BinOp::BitAnd(_) => ("&", &["|", "^"]),
        BinOp::BitOr(_) => ("|", &["&", "^"]),
        BinOp::BitXor(_) => ("^", &["|", "&"]),
        BinOp::Shl(_) => ("<<", &[">>"]),
        BinOp::Shr(_) => (">>", &["<<"]),
        BinOp::AddAssign(_) => ("+=", &["-=", "*="]),
        BinOp::SubAssign(_) => ("-=", &["+=", "/="]),
        BinOp::MulAssign(_) => ("*=", &["+=", "/="]),
        BinOp::DivAssign(_) => ("/=", &["%=", "*="]),
        BinOp::RemAssign(_) => ("%=", &["/=", "+="]),
        BinOp::BitAndAssign(_) => ("&=", &["|=", "^="]),
        BinOp::BitOrAssign(_) => ("|=", &["&=", "^="]),
        BinOp::BitXorAssign(_) => ("^=", &["|=", "&="]),
        BinOp::ShlAssign(_) => ("<<=", &[">>="]),
        BinOp::ShrAssign(_) => (">>=", &["<<="]),
        BinOp::And(_) => ("&&", &["||"]),
        BinOp::Or(_) => ("||", &["&&"]),
        _ => ("", &[]),
    }
}

/// Whether it compares.
pub(crate) fn compares(op: &BinOp) -> bool {
    matches!(
        op,
        BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Gt(_) | BinOp::Le(_) | BinOp::Ge(_)
    )
}

/// Whether it changes what is left of it.
pub(crate) fn assigns(op: &BinOp) -> bool {
    let (name, _) = instead(op);
    name.ends_with('=') && !compares(op)
}

/// What a function could answer at once, as far as its type tells.
pub(crate) fn answers(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec![String::new()],
        ReturnType::Type(_, answer) => values(answer),
    }
}

fn values(of: &Type) -> Vec<String> {
    let some = |values: &[&str]| values.iter().map(|value| value.to_string()).collect();
    let name = match of {
        Type::Tuple(all) if all.elems.is_empty() => return some(&["()"]),
        Type::Reference(to) => match (&*to.elem, to.mutability) {
            (Type::Slice(_), None) => return some(&["&[]"]),
            (Type::Slice(_), Some(_)) => return some(&["&mut []"]),
            _ => return Vec::new(),
        },
        Type::Path(path) => match path.path.segments.last() {
            Some(last) => last,
            None => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let inner = || inner(&name.arguments).map_or(Vec::new(), values);
    let with = |name: &str, values: Vec<String>| -> Vec<String> {
        let with_one = |value: String| format!("{name}({value})");
        values.into_iter().map(with_one).collect()
    };
    match name.ident.to_string().as_str() {
        "bool" => some(&["true", "false"]),
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize"
        | "c_int" | "c_uint" | "c_long" | "c_ulong" => some(&["0", "1"]),
        "Option" => [some(&["None"]), with("Some", inner())].concat(),
        "Result" if name.arguments.is_empty() => some(&["Ok(())"]),
        "Result" => with("Ok", inner()),
        _ => Vec::new(),
    }
}

fn inner(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(all) = arguments else {
        return None;
    };
    all.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(one) => Some(one),
        _ => None,
    })
}
