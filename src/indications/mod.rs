//! Subscriptions, matching, and delivery with retry.
