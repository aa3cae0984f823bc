-- How many words each host's model began with: `milter.learning.start`. Hosts that begin otherwise have other models of the same log.

ALTER TABLE gatepost.models ADD COLUMN words integer NOT NULL DEFAULT 0 CHECK (words >= 0);
