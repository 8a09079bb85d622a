"""`python -m tests.contracts.write`: write the golden files again; look at the difference before committing it."""

import json
import sys

from tests.contracts.sampling import GOLDEN, contracts, sample


def main() -> None:
    """Write one file per contract and remove those of contracts that are gone."""
    known = contracts()
    for old in GOLDEN.glob("*.json"):
        if old.stem not in known:
            old.unlink()
    for name, kind in known.items():
        value = kind.model_validate(sample(kind)).model_dump(mode="json")
        (GOLDEN / f"{name}.json").write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{len(known)} golden files in {GOLDEN}\n")


if __name__ == "__main__":
    main()
