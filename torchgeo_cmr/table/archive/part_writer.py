"""A table written as a part of an archive, which appears whole or not at all."""

from collections.abc import Generator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from torchgeo_cmr.drafts import disk_faults, stamp
from torchgeo_cmr.durable import flush
from torchgeo_cmr.table.provenance import Rows

from .emb_fields import EMB_KEY, footer
from .folder import FORMAT, FORMAT_VERSION
from .part_markers import marked
from .part_schema import to_arrow
from .records import part_record


def write_part(
    part: Path, key: str, table: Rows, *, fingerprint: str | None, known: bool
) -> None:
    """Write a table as a part.

    Args:
        part: File to write, in the folder of the archive; one that is there is replaced.
        key: Name of the work item.
        table: Rows of the item.
        fingerprint: What the rows were made of, if that is to be recorded.
        known: Whether the header tells that this part is gone, once it is; else a marker does.

    Raises:
        ArchiveError: If a column has no Arrow type.
        OSError: If the disk is full or the folder cannot be written to.
    """
    facts = {
        'format': FORMAT,
        'version': FORMAT_VERSION,
        'key': key,
        'rows': len(table),
        'dim': table.dim,
        'metric': table.metric,
        'spaces': list(table.spaces),
        'modalities': sorted(table.frame['modality'].dropna().unique()),
        'record': part_record(table),
        'content': f'{table.content.value:x}',
    }
    if fingerprint is not None:
        facts['fingerprint'] = fingerprint
    content = to_arrow(table.frame, table.vectors, facts)
    community = footer(facts['record'], table.dim, table.metric, table.spaces)
    content = content.replace_schema_metadata(
        {**content.schema.metadata, EMB_KEY: community}
    )
    with _committing(part, known=known) as temporary:
        pq.write_table(
            content,
            temporary,
            compression='zstd',
            row_group_size=16_384,
            # Vectors and footprints hardly repeat: a dictionary of them only takes room.
            use_dictionary=[
                column.name
                for column in content.schema
                if not pa.types.is_nested(column.type)
                and not pa.types.is_binary(column.type)
                and not pa.types.is_fixed_size_binary(column.type)
            ],
            write_page_checksum=True,
        )


@contextmanager
def _committing(part: Path, *, known: bool) -> Generator[Path]:
    """Write a part as a draft and give it its name, with a marker unless it is known without."""
    draft = part.with_name(f'.{stamp()}')
    with disk_faults(part):
        try:
            yield draft
            flush(draft)
            # Not by publish(), which removes the draft of a failure before its marker is looked at.
            with nullcontext() if known else marked(part, draft):
                draft.replace(part)
                flush(part.parent)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
