-- Schema gatepost: the greylist compared byte by byte. What is kept there is folded, and to look for it by the order of a language costs several times
-- as much. Run by `gatepost schema install` inside its one transaction.

ALTER TABLE gatepost.greylist
    ALTER client TYPE text COLLATE "C", ALTER sender TYPE text COLLATE "C", ALTER recipient TYPE text COLLATE "C";
ALTER TABLE gatepost.greylist_clients ALTER client TYPE text COLLATE "C";
