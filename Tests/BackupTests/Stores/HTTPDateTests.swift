import Foundation
import Testing

@testable import Backup

@Suite("Dates of servers")
struct HTTPDateTests {
    @Test("dates of HTTP and of lists come back as they were written, and others are none")
    func dates() {
        let instant = Date(timeIntervalSince1970: 1_764_111_230)
        #expect(HTTPDate.parse("Tue, 25 Nov 2025 22:53:50 GMT") == instant)
        #expect(HTTPDate.iso("2025-11-25T22:53:50.000Z") == instant)
        #expect(HTTPDate.iso("2025-11-25T22:53:50Z") == instant)
        for text in ["", "yesterday", "Tue, 25 Nov 2025 22:53:50", "Tue, 99 Nov 2025 22:53:50 GMT"] {
            #expect(HTTPDate.parse(text) == nil)
        }
    }
}
