//! Encodes BPF instructions: <https://docs.kernel.org/bpf/standardization/instruction-set.html>.
//!
//! A program is a table of operations, each with a comment. The assembler resolves jumps to a
//! [`Label`].

use std::collections::HashMap;

/// A register. `R0` has the result of a call, `R1` to `R5` its arguments, which the call clobbers.
/// `R6` to `R9` are callee-saved. `R10` is the frame pointer.
#[allow(missing_docs)] // see above
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// The size of a load or store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// One byte.
    B8,
    /// Two bytes.
    B16,
    /// Four bytes, zero-extended.
    B32,
    /// Eight bytes.
    B64,
}

/// A position in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// Do not change the connection.
    Untouched,
    /// `connect()` fails with `ECONNREFUSED`.
    Refused,
    /// The listener was checked; the result is in `R7`.
    Release,
    /// Start of a loop to the outermost user namespace. There are several such loops.
    Loop(u8),
    /// End of the loop.
    LoopEnd(u8),
    /// End of both branches.
    EndIf(Choice),
    /// Start of the second branch.
    Else(Choice),
}

/// A condition with two branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// Which user namespace the capabilities belong to.
    Namespace,
    /// Whether the process is dumpable.
    Dumpable,
    /// Whether the address is IPv4-mapped, to look up the listener.
    LookUpMapped,
    /// Whether the address is IPv4-mapped, to rewrite it.
    RewriteMapped,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `first = second`
    Move(Register, Register),
    /// `first = number`
    Set(Register, i32),
    /// `first = number` (64 bits)
    Set64(Register, u64),
    /// `first =` the map with this descriptor
    SetMap(Register, i32),
    /// `first += number`
    Add(Register, i32),
    /// `first &= number` (32 bits)
    And32(Register, i32),
    /// `first |= second` (32 bits)
    Or32(Register, Register),
    /// `first = *(second + offset)`
    Load(Size, Register, Register, i16),
    /// `*(first + offset) = second`
    Store(Size, Register, i16, Register),
    /// `*(first + offset) = number`
    StoreNumber(Size, Register, i16, i32),
    /// Calls a BPF helper function.
    Call(i32),
    /// Jumps.
    Jump(Label),
    /// Jumps if the lower 32 bits are equal to the number.
    JumpIf(Register, i32, Label),
    /// Jumps if the lower 32 bits are not equal to the number.
    JumpUnless(Register, i32, Label),
    /// Jumps if the lower 32 bits are less than the number.
    JumpIfLess(Register, i32, Label),
    /// Jumps if first > second (64 bits, unsigned).
    JumpIfMore(Register, Register, Label),
    /// Jumps if the register is zero (64 bits).
    JumpIfNull(Register, Label),
    /// Jumps if the registers differ (64 bits).
    JumpUnlessSame(Register, Register, Label),
    /// Defines a label at this position.
    Define(Label),
    /// Returns `R0`.
    Exit,
}

/// An operation and its comment.
pub type Line = (Op, &'static str);

/// Encodes a program; `None` if a label is undefined or out of range. Tests assemble each program.
#[must_use]
pub fn assemble(program: &[Line]) -> Option<Vec<u8>> {
    let mut labels = HashMap::new();
    let mut length = 0_i64;
    for (op, _) in program {
        match op {
            Op::Define(label) => {
                labels.insert(*label, length);
            }
            other => length += slots(other),
        }
    }
    let mut bytes = Vec::new();
    let mut position = 0;
    for (op, _) in program {
        position += slots(op);
        let distance = |label: &Label| i16::try_from(labels.get(label)? - position).ok();
        encode(op, distance, &mut bytes)?;
    }
    Some(bytes)
}

/// The number of instructions of an operation.
#[must_use]
pub fn slots(op: &Op) -> i64 {
    match op {
        Op::Define(_) => 0,
        Op::Set64(..) | Op::SetMap(..) => 2,
        _ => 1,
    }
}

fn encode(op: &Op, distance: impl Fn(&Label) -> Option<i16>, out: &mut Vec<u8>) -> Option<()> {
    use Register::R0;
    match op {
        Op::Move(to, from) => put(out, 0xbf, *to, *from, 0, 0),
        Op::Set(to, number) => put(out, 0xb7, *to, R0, 0, *number),
        Op::Set64(to, number) => put64(out, *to, R0, *number),
        // This source register marks the constant as a map descriptor.
        Op::SetMap(to, map) => put64(out, *to, Register::R1, u64::try_from(*map).ok()?),
        Op::Add(to, number) => put(out, 0x07, *to, R0, 0, *number),
        Op::And32(to, number) => put(out, 0x54, *to, R0, 0, *number),
        Op::Or32(to, from) => put(out, 0x4c, *to, *from, 0, 0),
        Op::Load(size, to, base, offset) => put(out, 0x61 | bits(*size), *to, *base, *offset, 0),
        Op::Store(size, base, offset, from) => {
            put(out, 0x63 | bits(*size), *base, *from, *offset, 0);
        }
        Op::StoreNumber(size, base, offset, number) => {
            put(out, 0x62 | bits(*size), *base, R0, *offset, *number);
        }
        Op::Call(function) => put(out, 0x85, R0, R0, 0, *function),
        Op::Jump(label) => put(out, 0x05, R0, R0, distance(label)?, 0),
        Op::JumpIf(register, number, label) => {
            put(out, 0x16, *register, R0, distance(label)?, *number);
        }
        Op::JumpUnless(register, number, label) => {
            put(out, 0x56, *register, R0, distance(label)?, *number);
        }
        Op::JumpIfLess(register, number, label) => {
            put(out, 0xa6, *register, R0, distance(label)?, *number);
        }
        Op::JumpIfMore(one, other, label) => put(out, 0x2d, *one, *other, distance(label)?, 0),
        Op::JumpIfNull(register, label) => put(out, 0x15, *register, R0, distance(label)?, 0),
        Op::JumpUnlessSame(one, other, label) => put(out, 0x5d, *one, *other, distance(label)?, 0),
        Op::Define(_) => {}
        Op::Exit => put(out, 0x95, R0, R0, 0, 0),
    }
    Some(())
}

fn bits(size: Size) -> u8 {
    match size {
        Size::B32 => 0,
        Size::B16 => 0x08,
        Size::B8 => 0x10,
        Size::B64 => 0x18,
    }
}

/// `struct bpf_insn`
fn put(out: &mut Vec<u8>, code: u8, to: Register, from: Register, offset: i16, number: i32) {
    let registers = if cfg!(target_endian = "little") {
        from as u8 * 16 + to as u8
    } else {
        to as u8 * 16 + from as u8
    };
    out.extend_from_slice(&[code, registers]);
    out.extend_from_slice(&offset.to_ne_bytes());
    out.extend_from_slice(&number.to_ne_bytes());
}

fn put64(out: &mut Vec<u8>, to: Register, from: Register, number: u64) {
    let [low, high] = [number, number >> 32].map(|half| (half & 0xffff_ffff) as u32);
    put(out, 0x18, to, from, 0, low.cast_signed());
    put(out, 0, Register::R0, Register::R0, 0, high.cast_signed());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_counts_instructions_and_not_lines() {
        let program = [
            (Op::Jump(Label::Refused), ""),
            (Op::Set64(Register::R1, 1 << 40), "two instructions"),
            (Op::Define(Label::Refused), "none"),
            (Op::Exit, ""),
            (Op::Jump(Label::Refused), "backwards"),
        ];
        let bytes = assemble(&program).unwrap_or_default();
        let offset = |at: usize| i16::from_ne_bytes([bytes[8 * at + 2], bytes[8 * at + 3]]);
        assert_eq!((bytes.len(), offset(0), offset(4)), (5 * 8, 2, -2));
    }

    #[test]
    fn a_jump_to_an_undefined_label_is_rejected() {
        assert_eq!(assemble(&[(Op::Jump(Label::Untouched), "")]), None);
    }
}
