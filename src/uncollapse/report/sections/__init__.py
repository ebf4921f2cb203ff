"""Parts of the page and the card: sections, tables, the auditor's part."""
