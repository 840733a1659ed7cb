package jdk.nashorn.api.scripting;

import java.util.Collection;
import java.util.Collections;
import java.util.Set;

/**
 * Maxwell asks of every value whether it is one of these, and Java has had none since 15. Nobody makes one: it only has
 * to be there, with what Maxwell calls on it.
 */
public class ScriptObjectMirror {
    public boolean isArray() {
        return false;
    }

    public Object get(Object key) {
        return null;
    }

    public Collection<Object> values() {
        return Collections.emptyList();
    }

    public Set<String> keySet() {
        return Collections.emptySet();
    }
}
