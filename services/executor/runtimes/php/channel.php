<?php
// Frames on the worker's descriptor, from the guest's side. The format is described in services/executor/frames.py.

declare(strict_types=1);

namespace Fnbus\Guest;

const READY = 1;
const LOAD = 2;
const LOADED = 3;
const CALL = 4;
const ANSWER = 5;
const ERROR = 6;
const START = 7;
const CHUNK = 8;
const END = 9;
const CREDIT = 10;

/** Flag of an answer: the call never gave its processor away. */
const COMPUTED = 0x01;
/** Flag of an answer: the worker is not free yet. */
const BACKGROUND = 0x02;
/** Chunks of one answer that go out before the executor grants more. */
const WINDOW = 8;
/** Largest body of a START or CHUNK. */
const CHUNK_BYTES = 65536;

const HEADER_BYTES = 24;
const FIXED_BYTES = 20;
const READ_BYTES = 65536;
const SET_DESCRIPTOR_FLAGS = 2;
const CLOSE_ON_EXEC = 1;

/** What came from the executor. */
final class Frame
{
    public function __construct(
        public readonly int $type,
        public readonly int $status,
        public readonly int $call,
        public readonly string $head,
        public readonly string $body,
    ) {
    }
}

/** The worker's end of the socket pair. */
final class Channel
{
    /** @var resource */
    private $stream;
    private int $owner;
    private string $rest = '';
    private int $credit = 0;
    /** @var list<Frame> frames that came while a stream waited for credit */
    private array $early = [];

    public function __construct(int $descriptor)
    {
        $this->stream = \fopen("php://fd/$descriptor", 'r+'); // a copy of the descriptor, under another number
        $this->owner = \getmypid();
        \stream_set_timeout($this->stream, -1);
        \stream_set_chunk_size($this->stream, READ_BYTES);
        self::protect($descriptor);
    }

    /**
     * Keep programs that user code starts from inheriting the socket. PHP itself has no call for that; where its FFI
     * extension is missing they do inherit it.
     */
    private static function protect(int $descriptor): void
    {
        if (!\class_exists(\FFI::class, false)) {
            return;
        }
        $system = \FFI::cdef('int fcntl(int, int, int); int close(int);');
        foreach (@\scandir('/proc/self/fd') ?: [] as $number) {
            if ((int) $number > 2) {
                $system->fcntl((int) $number, SET_DESCRIPTOR_FLAGS, CLOSE_ON_EXEC);
            }
        }
        $system->close($descriptor);
    }

    /** The next frame, or null when the executor has gone. */
    public function receive(): ?Frame
    {
        return \array_shift($this->early) ?? $this->read();
    }

    /** Whether this is the worker, and not a fork of it: that speaks to nobody. */
    public function owned(): bool
    {
        return \getmypid() === $this->owner;
    }

    public function send(int $type, int $call, int $status, string $head, string $body, int $cpuUs = 0, int $peakKib = 0, int $flags = 0): void
    {
        if (!$this->owned()) {
            throw new Gone();
        }
        $length = FIXED_BYTES + \strlen($head) + \strlen($body);
        $data = \pack('NCCnNNNN', $length, $type, $flags, $status, $call, \strlen($head), $cpuUs, $peakKib) . $head . $body;
        while ($data !== '') {
            $sent = @\fwrite($this->stream, $data);
            if ($sent === false || $sent === 0) {
                throw new Gone();
            }
            $data = $sent === \strlen($data) ? '' : \substr($data, $sent);
        }
    }

    /** Begin a stream: its first chunks need no credit. */
    public function start(int $call, int $status, string $head, string $body): void
    {
        $this->credit = WINDOW;
        $this->send(START, $call, $status, $head, $body);
    }

    /** Send a chunk as soon as the executor has room for it. */
    public function chunk(int $call, string $body): void
    {
        while ($this->credit === 0) {
            $frame = $this->read() ?? throw new Gone();
            if ($frame->type !== CREDIT) {
                $this->early[] = $frame;
            } elseif ($frame->call === $call) {
                $this->credit = $frame->status;
            }
        }
        $this->credit--;
        $this->send(CHUNK, $call, 0, '', $body);
    }

    private function read(): ?Frame
    {
        if (!$this->have(HEADER_BYTES)) {
            return null;
        }
        $fields = \unpack('Nlength/Ctype/Cflags/nstatus/Ncall/Nhead', $this->rest);
        $size = $fields['length'] - FIXED_BYTES + HEADER_BYTES;
        if (!$this->have($size)) {
            return null;
        }
        $bodyAt = HEADER_BYTES + $fields['head'];
        $head = \substr($this->rest, HEADER_BYTES, $fields['head']);
        $body = \substr($this->rest, $bodyAt, $size - $bodyAt);
        $this->rest = \substr($this->rest, $size);
        return new Frame($fields['type'], $fields['status'], $fields['call'], $head, $body);
    }

    /** Read until so many bytes are there; false when the executor has gone before. */
    private function have(int $bytes): bool
    {
        if (\strlen($this->rest) >= $bytes) {
            return true;
        }
        $pieces = [$this->rest];
        for ($have = \strlen($this->rest); $have < $bytes; $have += \strlen($piece)) {
            $piece = @\fread($this->stream, READ_BYTES);
            if ($piece === false || ($piece === '' && \feof($this->stream))) {
                return false;
            }
            $pieces[] = $piece;
        }
        $this->rest = \implode('', $pieces);
        return true;
    }
}

/** The executor has closed the descriptor, or this is a fork of the worker: there is nobody to tell. */
final class Gone extends \Exception
{
}
