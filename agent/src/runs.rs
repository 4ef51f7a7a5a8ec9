//! The runs of this agent.
