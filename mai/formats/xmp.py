"""The mark of an image that a model made, as XMP: what IPTC and the EU's codes of practice name.

Sources: IPTC Photo Metadata Standard 2025.1 (its Extension schema), IPTC's NewsCodes for
DigitalSourceType, XMP as ISO 16684-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from ..errors import ImageError

GENERATED = "trainedAlgorithmicMedia"
"""IPTC's word for an image that a model made as a whole."""

COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for an image of which a model made parts."""

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"

IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

MAX_PROMPT = 10_000
"""Characters of a prompt that are written: each takes 5 bytes at most, and XMP in a JPEG 65,502."""

MAX_NAME = 200
"""Characters of a model's name and of its version that are written."""

MAX_PACKET = 4 * 2**20
"""Bytes of a packet that is read; those of photographs with all their edits have some 100 KB."""

_START = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
"""How every packet begins: a byte order mark and the id that the standard gives."""

_NAMES = {"system": "AISystemUsed", "version": "AISystemVersionUsed",
          "prompt": "AIPromptInformation"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """What is said of an image: GENERATED, COMPOSITE or another of IPTC's source types, the model
    that made it, its version, and the prompt; "" is not said."""

    source_type: str
    system: str = ""
    version: str = ""
    prompt: str = field(default="", repr=False)


@dataclass
class Properties:
    """The properties of a packet, "NAMESPACE NAME" to text; `about` is what they are about, and
    `end` the byte before which more can be written, -1 where there is none."""

    values: dict[str, str] = field(default_factory=dict)
    about: str = ""
    end: int = -1

    @property
    def mark(self) -> Mark | None:
        """What they say of the image; None: nothing of where it comes from."""
        source_type = self.values.get(f"{IPTC} DigitalSourceType", "").strip()
        if not source_type:
            return None
        known = {key: self.values.get(f"{IPTC} {name}", "") for key, name in _NAMES.items()}
        return Mark(source_type.removeprefix(SOURCE_TYPES), **known)


def build_packet(mark: Mark) -> bytes:
    """A whole packet that holds the mark alone."""
    return (
        f'{_START}<x:xmpmeta xmlns:x="adobe:ns:meta/">\n<rdf:RDF xmlns:rdf="{RDF}">\n'
        f'{_description(mark)}</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
    ).encode()


def add_to_packet(packet: bytes, mark: Mark) -> bytes:
    """The packet with what the mark adds to it, all else as it is; the same bytes where it says
    all of that already. Empty space at its end, of which programs leave some, is used first.

    ImageError: it can't be read, or says of another kind of source.
    """
    found = read_packet(packet)
    if found.mark is not None and found.mark.source_type != mark.source_type:
        raise ImageError(
            f"It says already that its source is {found.mark.source_type}.",
            "What a file says of itself is not overwritten: change it with the program that "
            "wrote it.",
        )
    if not found.values:  # an empty frame
        return build_packet(mark)
    if not _properties(mark, found.values):
        return packet
    if found.end < 0:
        raise ImageError("Its XMP has no place for a mark.", "Save the image anew, without XMP.")
    added = _description(mark, found.about, found.values).encode()
    content, trailer, end = packet[found.end :].rpartition(b"<?xpacket")
    used = min(len(added), len(content) - len(content.rstrip()))
    content = content[: len(content) - used]
    return b"".join((packet[: found.end], added, content, trailer, end))


def read_packet(packet: bytes) -> Properties:
    """The simple properties of a packet; ImageError: it isn't XML, or declares entities."""
    reader = _PacketReader()
    try:
        if len(packet) > MAX_PACKET:
            raise ValueError("it is too long")
        reader.read(packet)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise ImageError(
            f"Its XMP can't be read ({error}).", "Save the image anew, without XMP."
        ) from None
    return reader.found


def mark_of_packet(packet: bytes) -> Mark | None:
    """The mark that a packet holds; None where it has none. ImageError: it can't be read."""
    return read_packet(packet).mark


def _description(mark: Mark, about: str = "", known: Mapping[str, str] | None = None) -> str:
    """The mark's properties as XML, but for those that the file has of its own."""
    lines = [
        f"  <Iptc4xmpExt:{name}>{escape(value)}</Iptc4xmpExt:{name}>\n"
        for name, value in _properties(mark, known or {}).items()
    ]
    return (
        f' <rdf:Description xmlns:rdf="{RDF}" rdf:about={quoteattr(about)} '
        f'xmlns:Iptc4xmpExt="{IPTC}">\n{"".join(lines)} </rdf:Description>\n'
    )


def _properties(mark: Mark, known: Mapping[str, str]) -> dict[str, str]:
    """What the mark says, by IPTC's names, without those of a file's own that are `known`."""
    values = {"DigitalSourceType": SOURCE_TYPES + mark.source_type}
    for key, name in _NAMES.items():
        text = _writable(getattr(mark, key), MAX_PROMPT if key == "prompt" else MAX_NAME)
        values |= {name: text} if text else {}
    return {name: value for name, value in values.items() if f"{IPTC} {name}" not in known}


def _writable(text: str, most: int) -> str:
    """The text without what XML has no way to write, cut to `most` characters."""
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(c if _is_of_xml(ord(c)) else "\ufffd" for c in short)


def _is_of_xml(code: int) -> bool:
    if code < 0x20:
        return code in (9, 10, 13)
    return not (0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF))


class _PacketReader:
    """Follows a packet's elements: properties stand below rdf:Description, or are its attributes.

    A document type is refused: with it a short text could declare entities that fill the memory.
    """

    def __init__(self) -> None:
        self.found = Properties()
        self._path: list[str] = []
        self._text: list[str] = []
        self._packet = b""
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text.append
        self._parser.StartDoctypeDeclHandler = self._refuse

    def read(self, packet: bytes) -> None:
        self._packet = packet.rstrip(b"\0")  # with which some programs fill packets up
        self._parser.Parse(self._packet, True)

    def _refuse(self, *declared: object) -> None:
        raise ValueError("it has a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == f"{RDF} Description" and self._path[-1:] == [f"{RDF} RDF"]:
            self.found.about = attributes.get(f"{RDF} about", "") or self.found.about
            self.found.values |= {key: text for key, text in attributes.items() if " " in key}
        elif self._is_property() and f"{RDF} resource" in attributes:
            self.found.values[name] = attributes[f"{RDF} resource"]
        self._path.append(name)
        self._text.clear()

    def _end(self, name: str) -> None:
        self._path.pop()
        at = self._parser.CurrentByteIndex
        # Not of an empty element, behind which another's end may follow, nor in two bytes a
        # character.
        tag = self._packet[at : self._packet.find(b">", at)].rstrip()
        if name == f"{RDF} RDF" and tag.startswith(b"</") and tag.endswith(b"RDF"):
            self.found.end = at
        elif self._is_property():
            self.found.values.setdefault(name, "".join(self._text))
        self._text.clear()

    def _is_property(self) -> bool:
        return self._path[-2:] == [f"{RDF} RDF", f"{RDF} Description"]
