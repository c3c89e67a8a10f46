/// LZF as Redis uses it (redis/src/lzf_d.c): a control byte below 32 is followed by that many + 1 literals;
/// else its top 3 bits + 2 are a length (7: the next byte is added) and the rest with the next byte a distance - 1.
package enum LZF {
    /// No input expands more than this: 3 bytes give at most 264.
    package static let largestRatio = 88

    /// Fills `output` exactly.
    /// - Throws: `.malformed` if the input ends early, reaches before the output's start, or gives another length.
    package static func decompress(
        _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(RDBError) {
        var from = 0
        var to = 0
        while from < input.count {
            let control = Int(input[from])
            from += 1
            if control < 32 {
                let count = control + 1
                guard from + count <= input.count, to + count <= output.count else { throw broken() }
                output.baseAddress.unsafelyUnwrapped.advanced(by: to)
                    .copyMemory(from: input.baseAddress.unsafelyUnwrapped.advanced(by: from), byteCount: count)
                from += count
                to += count
                continue
            }
            var count = (control >> 5) + 2
            if count == 9 {
                guard from < input.count else { throw broken() }
                count += Int(input[from])
                from += 1
            }
            guard from < input.count else { throw broken() }
            let distance = ((control & 31) << 8 | Int(input[from])) + 1
            from += 1
            guard distance <= to, to + count <= output.count else { throw broken() }
            let base = output.baseAddress.unsafelyUnwrapped
            if distance >= count {
                (base + to).copyMemory(from: base + (to - distance), byteCount: count)
                to += count
            } else {
                // Overlapping copies repeat a pattern: byte by byte.
                for _ in 0..<count {
                    output[to] = output[to - distance]
                    to += 1
                }
            }
        }
        guard to == output.count else { throw broken() }
    }

    private static func broken() -> RDBError { RDBError(.malformed, "an LZF string does not decompress") }
}
