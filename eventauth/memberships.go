package eventauth

// The rules of this file are those of every room version, but for their numbers and for
// what knocking added in version 7 and knock_restricted in 10.

// invite checks the rule "If membership is invite", for an invite without
// third_party_invite.
func (a *attempt) invite() error {
	rule := int(a.rules.Auth.InviteRule)
	if ok, err := a.senderJoined(); err != nil {
		return err
	} else if !ok {
		return a.rejectMember(senderNotJoined, rule, 2)
	}
	target, err := a.membership(a.view.target)
	if err != nil {
		return err
	}
	switch target {
	case join:
		return a.rejectMember("the target is joined already", rule, 3)
	case ban:
		return a.rejectMember("the target is banned", rule, 3)
	}
	levels := a.levels()
	if ok, err := reaches(levels, a.Sender, levels.Invite); err != nil || ok {
		return err
	}
	return a.rejectMember("the sender's power level is below the invite level", rule, 5)
}

// leave checks the rule "If membership is leave".
func (a *attempt) leave() error {
	rule := int(a.rules.Auth.InviteRule) + leaveAfterInvite
	target, err := a.membership(a.view.target)
	if err != nil {
		return err
	}
	if a.Sender == a.Target {
		switch target {
		case invite, join, knock: // knock is there only in versions that have it
			return nil
		}
		return a.rejectMember("who leaves is neither joined nor invited, and has not knocked", rule, 1)
	}
	if ok, err := a.senderJoined(); err != nil {
		return err
	} else if !ok {
		return a.rejectMember(senderNotJoined, rule, 2)
	}
	levels := a.levels()
	if target == ban {
		if ok, err := reaches(levels, a.Sender, levels.Ban); err != nil {
			return err
		} else if !ok {
			return a.rejectMember("the target is banned, and the sender's power level is below the ban level", rule, 3)
		}
	}
	if ok, err := mayKick(levels, a.Sender, a.Target); err != nil || ok {
		return err
	}
	return a.rejectMember("the sender's power level is below the kick level or not above the target's", rule, 5)
}

// knock checks the rule "If membership is knock".
func (a *attempt) knock() error {
	rule := int(a.rules.Auth.InviteRule) + knockAfterInvite
	if !a.knocksAllowed() {
		return a.rejectMember("the join rule does not allow knocking", rule, 1)
	}
	if a.Sender != a.Target {
		return a.rejectMember("nobody may knock for somebody else", rule, 2)
	}
	current, err := a.membership(a.view.sender)
	if err != nil {
		return err
	}
	switch current {
	case ban, invite, join:
		return a.rejectMember("who knocks is banned, invited or joined", rule, 4)
	}
	return nil
}

// knocksAllowed looks at the join rule, which is invite if there is none.
func (a *attempt) knocksAllowed() bool {
	if a.view.joinRules == nil {
		return false
	}
	switch a.view.joinRules.ContentJSON("join_rule") {
	case `"knock"`:
		return true
	case `"knock_restricted"`:
		return a.rules.Auth.KnockRestricted
	}
	return false
}

const senderNotJoined = "the sender is not joined to the room"

func (a *attempt) senderJoined() (bool, error) {
	m, err := a.membership(a.view.sender)
	return m == join, err
}

// reaches reports whether the level of a user is at least the one that is asked for.
func reaches(levels PowerLevels, userID string, required func() (Level, error)) (bool, error) {
	own, err := levels.User(userID)
	if err != nil {
		return false, err
	}
	want, err := required()
	return err == nil && own >= want, err
}

// mayKick reports whether the sender's level is at least the kick level and above that
// of the target.
func mayKick(levels PowerLevels, sender, target string) (bool, error) {
	own, err := levels.User(sender)
	if err != nil {
		return false, err
	}
	kick, err := levels.Kick()
	if err != nil || own < kick {
		return false, err
	}
	other, err := levels.User(target)
	return err == nil && other < own, err
}
