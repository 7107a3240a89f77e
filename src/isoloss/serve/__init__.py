"""A ledger's pages over HTTP, while its runs finish: what `isoloss serve` does. Reads the ledger and writes nothing."""
