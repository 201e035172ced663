// SPDX-License-Identifier: GPL-2.0

//! Finds the places in a file that can be changed.
//!
//! Left alone are tests, what is computed when it is compiled, what is in macros, and what only
//! some configurations have.

use crate::{
    operators::{
        answers,
        assigns,
        compares,
        instead, //
    },
    text::Edits, //
};
use std::{
    collections::BTreeSet,
    mem::{
        replace,
        take, //
    },
    ops::Range, //
};
use syn::{
    spanned::Spanned,
    visit::{
        self,
        Visit, //
    },
    Arm,
    Attribute,
    BinOp,
    Block,
    Expr,
    ExprBinary,
    ExprMatch,
    ExprUnary,
    ImplItemFn,
    ItemFn,
    ItemImpl,
    ItemMod,
    Pat,
    Signature,
    Stmt,
    TraitItemFn,
    Type,
    UnOp, //
};

/// A change.
pub(crate) struct Mutant {
    pub(crate) number: usize,
    pub(crate) line: usize,
    pub(crate) function: String,
    pub(crate) what: String,
}

/// The file with the changes in it that are wanted, if not all of them are; and all of them, which
/// are numbered from `first` on.
pub(crate) fn change(
    source: &str,
    first: usize,
    wanted: Option<&BTreeSet<usize>>,
) -> syn::Result<(String, Vec<Mutant>)> {
    let file = syn::parse_file(source)?;
    let mut places = Places {
        source,
        edits: Edits::default(),
        mutants: Vec::new(),
        first,
        wanted,
        of: String::new(),
        function: String::new(),
    };
    places.visit_file(&file);
    let changed = take(&mut places.edits).apply(source, 0..source.len());
    Ok((changed, places.mutants))
}

struct Places<'a> {
    source: &'a str,
    edits: Edits,
    mutants: Vec<Mutant>,
    first: usize,
    wanted: Option<&'a BTreeSet<usize>>,
    /// The type that has the function.
    of: String,
    function: String,
}

/// Where it is said which change is in force.
const ASK: &str = "crate::kapi::mutant";

fn range(of: &impl Spanned) -> Range<usize> {
    of.span().byte_range()
}

/// Whether something is not always there, or only for tests.
fn is_conditional(attributes: &[Attribute]) -> bool {
    let is_one = |name| attributes.iter().any(|one| one.path().is_ident(name));
    is_one("cfg") || is_one("kunit_tests") || is_one("test")
}

impl Places<'_> {
    /// Changes at the same place: the number of the first, if any of them is wanted.
    fn add(&mut self, line: usize, changes: &[String]) -> Option<usize> {
        let number = self.first + self.mutants.len();
        for (more, what) in changes.iter().enumerate() {
            self.mutants.push(Mutant {
                number: number + more,
                line,
                function: self.function.clone(),
                what: what.clone(),
            });
        }
        let all = number..number + changes.len();
        let is_wanted = |wanted: &BTreeSet<usize>| wanted.range(all).next().is_some();
        self.wanted.is_none_or(is_wanted).then_some(number)
    }

    /// The text of something, with the changes in it that `look` finds.
    fn text(&mut self, range: Range<usize>, look: impl FnOnce(&mut Self)) -> String {
        let around = take(&mut self.edits);
        look(self);
        replace(&mut self.edits, around).apply(self.source, range)
    }

    fn text_of(&mut self, expr: &Expr) -> String {
        self.text(range(expr), |places| places.visit_expr(expr))
    }

    fn function(&mut self, signature: &Signature, block: &Block, attributes: &[Attribute]) {
        // What is computed when it is compiled cannot ask.
        if is_conditional(attributes) || signature.constness.is_some() {
            return;
        }
        let outer = take(&mut self.function);
        self.function = format!("{}{}", self.of, signature.ident);
        self.body(signature, block);
        self.visit_block(block);
        self.function = outer;
    }

    /// What the function could answer at once.
    fn body(&mut self, signature: &Signature, block: &Block) {
        let answers = answers(&signature.output);
        let say = |answer: &String| match answer.as_str() {
            "" => "it does nothing".to_string(),
            _ => format!("it answers {answer}"),
        };
        let changes: Vec<String> = answers.iter().map(say).collect();
        let Some(number) = self.add(signature.ident.span().start().line, &changes) else {
            return;
        };
        let arms = ways(answers.iter().map(|answer| format!("return {answer}")));
        let start = block.brace_token.span.open().byte_range().end;
        let ask = format!(
            " match {ASK}::way({number}, {}) {{ {arms}_ => () }}",
            answers.len()
        );
        self.edits.replace(start..start, ask);
    }

    fn arithmetic(&mut self, binary: &ExprBinary) {
        let (name, others) = instead(&binary.op);
        let changes = become_of(name, others);
        let Some(number) = self.add(binary.op.span().start().line, &changes) else {
            return visit::visit_expr_binary(self, binary);
        };
        let (left, right) = (self.text_of(&binary.left), self.text_of(&binary.right));
        let reference = if compares(&binary.op) { "&" } else { "" };
        let arms = ways(
            others
                .iter()
                .map(|new| format!("mutant_left {new} mutant_right")),
        );
        let new = format!(
            "(match ({reference}({left}), {reference}({right})) {{ (mutant_left, mutant_right) => \
             match {ASK}::way({number}, {}) {{ {arms}_ => mutant_left {name} mutant_right }} }})",
            others.len()
        );
        self.edits.replace(range(binary), new);
    }

    fn assignment(&mut self, binary: &ExprBinary) {
        let (name, others) = instead(&binary.op);
        let mut changes = become_of(name, others);
        changes.push(LEFT_OUT.to_string());
        let Some(number) = self.add(binary.op.span().start().line, &changes) else {
            return visit::visit_expr_binary(self, binary);
        };
        let (left, right) = (self.text_of(&binary.left), self.text_of(&binary.right));
        let others = others
            .iter()
            .map(|new| format!("{left} {new} mutant_right"));
        let arms = ways(others.chain(["()".to_string()]));
        let new = format!(
            "match {right} {{ mutant_right => match {ASK}::way({number}, {}) \
             {{ {arms}_ => {left} {name} mutant_right }} }}",
            changes.len()
        );
        self.edits.replace(range(binary), new);
    }

    /// `and` or `or`, which may not come to the right side.
    fn logic(&mut self, binary: &ExprBinary) {
        let (name, others) = instead(&binary.op);
        let changes = become_of(name, others);
        let Some(number) = self.add(binary.op.span().start().line, &changes) else {
            return visit::visit_expr_binary(self, binary);
        };
        let (left, right) = (self.text_of(&binary.left), self.text_of(&binary.right));
        let comes_to_it = if name == "&&" { "!=" } else { "==" };
        let new = format!(
            "(match {left} {{ mutant_left => if mutant_left {comes_to_it} \
             {ASK}::is({number}) {{ {right} }} else {{ mutant_left }} }})"
        );
        self.edits.replace(range(binary), new);
    }

    fn without_arm(&mut self, arm: &Arm) {
        let what = ["the arm is left out".to_string()];
        if let Some(number) = self.add(arm.pat.span().start().line, &what) {
            let end = range(&arm.pat).end;
            let guard = format!(" if !{ASK}::is({number})");
            self.edits.replace(end..end, guard);
        }
    }

    fn guard(&mut self, guard: &Expr) {
        let changes = ["true", "false"].map(|answer| format!("the guard is {answer}"));
        let Some(number) = self.add(guard.span().start().line, &changes) else {
            return self.visit_expr(guard);
        };
        let text = self.text_of(guard);
        let new =
            format!("(match {ASK}::way({number}, 2) {{ 1 => true, 2 => false, _ => {text} }})");
        self.edits.replace(range(guard), new);
    }
}

const LEFT_OUT: &str = "it is left out";

fn become_of(name: &str, others: &[&str]) -> Vec<String> {
    let one = |new| format!("{name} becomes {new}");
    others.iter().map(one).collect()
}

/// The arms of a match of the ways that there are.
fn ways(all: impl Iterator<Item = String>) -> String {
    (1..)
        .zip(all)
        .map(|(way, text)| format!("{way} => {text}, "))
        .collect()
}

/// Whether nobody uses what comes of it, but for its effects, and it can be left out: a variable
/// that is set once more may have been moved away.
fn is_for_effect(expr: &Expr) -> bool {
    match expr {
        Expr::Call(_) | Expr::MethodCall(_) => true,
        Expr::Assign(assign) => !matches!(*assign.left, Expr::Path(_)),
        Expr::Try(inner) => is_for_effect(&inner.expr),
        _ => false,
    }
}

/// Whether it is one of the allocator's, which have no other operators.
fn is_flag(expr: &Expr) -> bool {
    let Expr::Path(path) = expr else {
        return false;
    };
    let last = path.path.segments.last();
    last.is_some_and(|last| last.ident.to_string().contains("GFP_"))
}

fn name_of(of: &Type) -> String {
    match of {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .map_or(String::new(), |last| format!("{}::", last.ident)),
        _ => String::new(),
    }
}

impl<'ast> Visit<'ast> for Places<'_> {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_conditional(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        if !is_conditional(&block.attrs) {
            let outer = replace(&mut self.of, name_of(&block.self_ty));
            visit::visit_item_impl(self, block);
            self.of = outer;
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        let outer = take(&mut self.of);
        self.function(&item.sig, &item.block, &item.attrs);
        self.of = outer;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.sig, &item.block, &item.attrs);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block, &item.attrs);
        }
    }

    // What is computed when it is compiled.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}
    fn visit_item_struct(&mut self, _: &'ast syn::ItemStruct) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_path(&mut self, _: &'ast syn::Path) {}
    fn visit_generics(&mut self, _: &'ast syn::Generics) {}
    fn visit_angle_bracketed_generic_arguments(
        &mut self,
        _: &'ast syn::AngleBracketedGenericArguments,
    ) {
    }
    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    // What is not computed, or seen by others only.
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_macro(&mut self, _: &'ast syn::Macro) {}

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        match &binary.op {
            BinOp::And(_) | BinOp::Or(_) => self.logic(binary),
            op if assigns(op) => self.assignment(binary),
            BinOp::BitOr(_) if is_flag(&binary.right) => (),
            _ => self.arithmetic(binary),
        }
    }

    fn visit_expr_unary(&mut self, unary: &'ast ExprUnary) {
        let UnOp::Not(not) = &unary.op else {
            return visit::visit_expr_unary(self, unary);
        };
        let what = ["! is left out".to_string()];
        let Some(number) = self.add(not.span().start().line, &what) else {
            return self.visit_expr(&unary.expr);
        };
        let text = self.text_of(&unary.expr);
        let new = format!(
            "(match {text} {{ mutant_value => if {ASK}::is({number}) {{ mutant_value }} \
             else {{ !mutant_value }} }})"
        );
        self.edits.replace(range(unary), new);
    }

    fn visit_expr_match(&mut self, all: &'ast ExprMatch) {
        self.visit_expr(&all.expr);
        let is_rest = |arm: &Arm| matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none();
        let has_rest = all.arms.iter().any(is_rest);
        for arm in &all.arms {
            match &arm.guard {
                Some((_, guard)) => self.guard(guard),
                None if has_rest && !is_rest(arm) => self.without_arm(arm),
                None => (),
            }
            self.visit_expr(&arm.body);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        match statement {
            Stmt::Expr(expr, Some(_)) if is_for_effect(expr) => {
                let what = [LEFT_OUT.to_string()];
                let Some(number) = self.add(expr.span().start().line, &what) else {
                    return self.visit_expr(expr);
                };
                let text = self.text_of(expr);
                let new = format!("if !{ASK}::is({number}) {{ {text}; }}");
                self.edits.replace(range(statement), new);
            }
            _ => visit::visit_stmt(self, statement),
        }
    }
}
