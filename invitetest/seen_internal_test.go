package invitetest

import (
	"net/http/httptest"
	"testing"
	"time"
)

func TestWhatWasSeenIsBounded(t *testing.T) {
	var l seenLog
	body := make([]byte, maxSeen+1)
	for range 100 {
		one := l.begin(httptest.NewRequest("PUT", "/", nil), body, time.Now())
		l.end(one, 200, body, false)
	}
	if len(l.all) != 31 || l.total > maxSeenTotal || l.total != 31*(seenCost+2*maxSeen) {
		t.Error(len(l.all), l.total)
	}
}
