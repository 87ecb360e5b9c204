//! What was read of a pattern → the steps that match it.

use super::{Step, reader::Node};
use crate::query::{PatternError, limits::PatternRoom};

/// A program in the making.
pub(super) struct Program<'a> {
    pub(super) steps: Vec<Step>,
    /// What the steps cost.
    pub(super) weight: usize,
    /// What they may cost, for the other patterns of the query have taken the rest.
    room: &'a PatternRoom,
}

impl<'a> Program<'a> {
    /// The program that matches the node.
    pub(super) fn of(node: &Node, room: &'a PatternRoom) -> Result<Self, PatternError> {
        let mut program = Self { steps: Vec::new(), weight: 0, room };
        emit(node, &mut program)?;
        program.push(Step::Accept)?;
        Ok(program)
    }

    fn len(&self) -> usize {
        self.steps.len()
    }

    fn push(&mut self, step: Step) -> Result<(), PatternError> {
        self.weight += match &step {
            Step::One(matcher) => matcher.weight(),
            Step::Fork(..) | Step::Jump(_) | Step::AtStart | Step::AtEnd | Step::Accept => 1,
        };
        if self.weight > self.room.steps_alone {
            return Err(PatternError::TooLarge);
        }
        if self.weight > self.room.steps_left {
            return Err(PatternError::TooLargeTogether);
        }
        self.steps.push(step);
        Ok(())
    }
}

fn emit(node: &Node, program: &mut Program<'_>) -> Result<(), PatternError> {
    let before = program.len();
    emit_node(node, program)?;
    if program.len() == before {
        // Whatever costs time here costs a step, or `(((){9}){9})…` would cost time without end.
        program.push(Step::Jump(before + 1))?;
    }
    Ok(())
}

fn emit_node(node: &Node, program: &mut Program<'_>) -> Result<(), PatternError> {
    match node {
        Node::Empty => Ok(()),
        Node::One(matcher) => program.push(Step::One(matcher.clone())),
        Node::AtStart => program.push(Step::AtStart),
        Node::AtEnd => program.push(Step::AtEnd),
        Node::Sequence(nodes) => nodes.iter().try_for_each(|node| emit(node, program)),
        Node::Choice(nodes) => emit_choice(nodes, program),
        Node::Repeat { node, min, max } => emit_repeat(node, *min, *max, program),
    }
}

fn emit_choice(nodes: &[Node], program: &mut Program<'_>) -> Result<(), PatternError> {
    let mut jumps = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if index + 1 == nodes.len() {
            emit(node, program)?;
            break;
        }
        let fork = program.len();
        program.push(Step::Fork(fork + 1, 0))?;
        emit(node, program)?;
        jumps.push(program.len());
        program.push(Step::Jump(0))?;
        program.steps[fork] = Step::Fork(fork + 1, program.len());
    }
    let end = program.len();
    for jump in jumps {
        program.steps[jump] = Step::Jump(end);
    }
    Ok(())
}

fn emit_repeat(
    node: &Node,
    min: usize,
    max: Option<usize>,
    program: &mut Program<'_>,
) -> Result<(), PatternError> {
    for _ in 0..min {
        emit(node, program)?;
    }
    let Some(max) = max else {
        let fork = program.len();
        program.push(Step::Fork(0, 0))?;
        emit(node, program)?;
        program.push(Step::Jump(fork))?;
        program.steps[fork] = Step::Fork(fork + 1, program.len());
        return Ok(());
    };
    let mut forks = Vec::new();
    for _ in min..max {
        forks.push(program.len());
        program.push(Step::Fork(0, 0))?;
        emit(node, program)?;
    }
    let end = program.len();
    for fork in forks {
        program.steps[fork] = Step::Fork(fork + 1, end);
    }
    Ok(())
}
